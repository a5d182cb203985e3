"""The lakehouse's own keys of a contract, which the standard has no field for: its `customProperties`.

load, rejectLimit, deletesLimit, drift (bronze); strategy, follows, merge, history (silver, gold); window, partition,
sort, evolution, drop, upkeep (all). What `follows`, `merge` and `history` say is read in `follows.py`, `keys.py` and
`history.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from enum import StrEnum
from typing import TypeVar

from open_data_contract_standard.model import CustomProperty

from lakehouse.contracts.business_day import business_day
from lakehouse.contracts.document import Place
from lakehouse.contracts.follows import follows
from lakehouse.contracts.types import INTEGERS, family
from lakehouse.tables import (
    BusinessDay,
    Column,
    Drift,
    Evolution,
    Follow,
    Layer,
    LoadPolicy,
    PartitionField,
    Strategy,
    TableName,
    Upkeep,
)

KNOWN = (
    "deletesLimit",
    "drift",
    "drop",
    "evolution",
    "follows",
    "history",
    "load",
    "merge",
    "partition",
    "rejectLimit",
    "sort",
    "strategy",
    "upkeep",
    "window",
)
_PARTITION = re.compile(r"(?:(?P<transform>\w+)(?:\[(?P<width>\d+)\])?\((?P<column>[^()]+)\))|(?P<identity>[^()\[\]]+)")
_DAYS = {"date", "timestamp", "timestamptz"}
_TRANSFORMS: Mapping[str, frozenset[str]] = {
    "identity": frozenset(INTEGERS | _DAYS | {"string", "boolean", "decimal", "time", "uuid", "fixed", "binary"}),
    "year": frozenset(_DAYS),
    "month": frozenset(_DAYS),
    "day": frozenset(_DAYS),
    "hour": frozenset(_DAYS - {"date"}),
    "bucket": frozenset(INTEGERS | _DAYS | {"string", "decimal", "time", "uuid", "fixed", "binary"}),
    "truncate": frozenset(INTEGERS | {"string", "decimal", "binary"}),
}
_WIDE = {"bucket", "truncate"}
_Choice = TypeVar("_Choice", bound=StrEnum)


@dataclass(frozen=True)
class CustomProperties:
    """The entries of a contract's `customProperties` by name, with the place of each."""

    top: Place
    values: Mapping[str, object] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Sequence[CustomProperty], place: Place) -> CustomProperties:
        """Raises ContractError for an unknown property and for one stated twice."""
        values: dict[str, object] = {}
        places: dict[str, Place] = {}
        for position, entry in enumerate(entries):
            at = place / position
            if entry.property not in KNOWN:
                raise (at / "property").unknown("customProperty", entry.property, KNOWN)
            if entry.property in values:
                raise (at / "property").error(
                    f"customProperty {entry.property!r} is stated twice", remedy="Remove one of them."
                )
            values[entry.property], places[entry.property] = entry.value, at / "value"
        return cls(place, values, places)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def place(self, name: str) -> Place:
        """Where the value of a property stands."""
        return self.places.get(name, self.top)

    def mapping(self, name: str, known: Sequence[str] | None = None) -> Mapping[str, object]:
        """The mapping that a property is. Raises ContractError for anything else, and for a key that is not `known`."""
        value = self.values[name]
        if not isinstance(value, dict):
            raise self.place(name).error(f"{name} is a mapping", found=repr(value), remedy="Write its keys and values.")
        for key in value:
            if known is not None and key not in known:
                raise (self.place(name) / key).unknown(f"key of {name}", key, known)
        return value

    def load(self) -> LoadPolicy | None:
        """Where rows come from, or None."""
        if "load" not in self.values:
            return None
        options = dict(self.mapping("load"))
        source = options.pop("source", None)
        if not isinstance(source, str):
            raise self.place("load").error(
                "load names no source", remedy="Add `source`, the name of a source in the project's settings."
            )
        if "ignore" in options:
            self._texts(options["ignore"], "ignore", self.place("load") / "ignore")
        policy = LoadPolicy(source, options, drift=self._one_of(Drift, "drift", Drift.EVOLVE))
        if "deletesLimit" in self.values:
            limit = _share(self.place("deletesLimit"), self.values["deletesLimit"], "deletesLimit")
            policy = replace(policy, deletes_limit=limit)
        if "rejectLimit" not in self.values:
            return policy
        share, rows = self._reject_limit(self.values["rejectLimit"])
        return replace(policy, reject_limit=share, reject_rows=rows)

    def strategy(self) -> Strategy | None:
        """How a model's result enters its table, if stated."""
        if "strategy" not in self.values:
            return None
        known = [strategy.value for strategy in Strategy]
        if self.values["strategy"] not in known:
            raise self.place("strategy").unknown("strategy", self.values["strategy"], known)
        return Strategy(str(self.values["strategy"]))

    def window(self, columns: Mapping[str, Column], layer: Layer) -> tuple[str | None, date | None, BusinessDay | None]:
        """Column and first day of the table's daily windows, if it has any, and how a load computes the day, if so."""
        if "window" not in self.values:
            return None, None, None
        place, value = self.place("window"), self.mapping("window", ("column", "start", "from", "zone"))
        name, start = value.get("column"), value.get("start")
        if not isinstance(name, str) or name not in columns:
            raise (place / "column").unknown("column", name, list(columns))
        column = columns[name]
        if column.type not in _DAYS or not column.required:
            raise (place / "column").error(
                f"{name} cannot tell a row's day",
                expected="a required date or timestamp",
                found=f"{'a required' if column.required else 'an optional'} {column.type}",
                remedy="Choose the day that is fixed when the row is born, and make it required.",
            )
        try:
            first = date.fromisoformat(str(start))
        except ValueError as error:
            raise (place / "start").error(
                "the window has no first day", expected="2026-01-31", found=repr(start), remedy="Add `start`."
            ) from error
        return name, first, business_day(value, column, columns, layer, place)

    def follows(self, own: TableName, *, windowed: bool) -> tuple[Follow, ...]:
        """Which days of the table a change in another one touches, where that is stated."""
        if "follows" not in self.values:
            return ()
        if not windowed:
            raise self.place("follows").error(
                "follows on a table without days",
                remedy="Remove it: a silver or gold table with a `window` states which of its days a change touches.",
            )
        return follows(self.values["follows"], own, self.place("follows"))

    def partition(self, columns: Mapping[str, Column]) -> tuple[PartitionField, ...]:
        """Partition fields such as `bucket[16](customer_id)`; a bare column is identity."""
        place = self.place("partition")
        return tuple(_partition(text, columns, place / at) for at, text in enumerate(self._names("partition")))

    def sort(self, columns: Mapping[str, Column]) -> tuple[str, ...]:
        """Columns that files are sorted by."""
        names = self._names("sort")
        for position, name in enumerate(names):
            if name not in columns:
                raise (self.place("sort") / position).unknown("column", name, list(columns))
        return tuple(names)

    def evolution(self) -> Evolution:
        """Whether the table follows the contract when it changes: `evolve` (the default) or `freeze`."""
        return self._one_of(Evolution, "evolution", Evolution.EVOLVE)

    def drop(self, columns: Mapping[str, Column]) -> frozenset[str]:
        """Columns to remove from the table, none of which the contract has."""
        names = self._names("drop")
        for position, name in enumerate(names):
            if name in columns or name.startswith("_"):
                raise (self.place("drop") / position).error(
                    f"{name} is to be dropped and is a column of the table",
                    remedy="Remove it from the columns, or from `drop`.",
                )
        return frozenset(names)

    def upkeep(self) -> Upkeep:
        """What upkeep may do: `{targetFileMb: 128, keepSnapshotsDays: 7}`."""
        defaults = Upkeep()
        value = self.mapping("upkeep", ("targetFileMb", "keepSnapshotsDays")) if "upkeep" in self.values else {}
        for key, number in value.items():
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise (self.place("upkeep") / key).error(
                    f"{key} is a whole number above 0", found=repr(number), remedy="Write such a number."
                )
        days = value.get("keepSnapshotsDays", defaults.keep_snapshots.days)
        size = value.get("targetFileMb", defaults.target_file_mb)
        return Upkeep(target_file_mb=int(str(size)), keep_snapshots=timedelta(days=int(str(days))))

    def _names(self, name: str) -> list[str]:
        return self._texts(self.values.get(name, []), name, self.place(name))

    def _texts(self, value: object, name: str, place: Place) -> list[str]:
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise place.error(f"{name} is a list of text", found=repr(value), remedy="List the columns.")
        return value

    def _one_of(self, kind: type[_Choice], name: str, default: _Choice) -> _Choice:
        stated, known = self.values.get(name, default.value), [one.value for one in kind]
        if stated not in known:
            raise self.place(name).unknown(name, stated, known)
        return kind(str(stated))

    def _reject_limit(self, value: object) -> tuple[float, int | None]:
        """A share; or `{share: 0.05, rows: 100}`, of which one may be left out and both hold."""
        place = self.place("rejectLimit")
        if not isinstance(value, dict):
            return _share(place, value, "rejectLimit"), None
        limits = self.mapping("rejectLimit", ("share", "rows"))
        rows = limits.get("rows")
        if isinstance(rows, bool) or not isinstance(rows, int | None) or (rows or 0) < 0 or not limits:
            raise (place / "rows").error("rows is a whole number from 0", found=repr(rows), remedy="Correct it.")
        return _share(place / "share", limits["share"], "rejectLimit") if "share" in limits else 1.0, rows


def _share(place: Place, value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise place.error(f"{name} is a share from 0 to 1", found=repr(value), remedy="Correct it.")
    return float(value)


def _partition(text: str, columns: Mapping[str, Column], place: Place) -> PartitionField:
    found = _PARTITION.fullmatch(text)
    transform = (found["transform"] or "identity") if found else ""
    if found is None or transform not in _TRANSFORMS or (transform in _WIDE) != bool(found["width"]):
        raise place.error(
            f"{text!r} is not a partition field",
            expected="a column, or one of "
            + ", ".join(f"{t}{'[16]' if t in _WIDE else ''}(column)" for t in _TRANSFORMS),
            remedy="Write it in one of these forms.",
        )
    name = (found["column"] or found["identity"]).strip()
    if name not in columns:
        raise place.unknown("column", name, list(columns))
    if family(columns[name].type) not in _TRANSFORMS[transform]:
        raise place.error(
            f"{transform} does not partition a column of type {columns[name].type}",
            expected=", ".join(sorted(_TRANSFORMS[transform])),
            remedy="Choose another transform or column.",
        )
    return PartitionField(name, f"{transform}[{int(found['width'])}]" if found["width"] else transform)
