"""The customProperty `merge`, and what it has in common with `history`: the columns that rows enter a table by.

What becomes of the rows is `iceberg/merge/`; the versions of a dimension are `history.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from lakehouse.contracts.document import Place
from lakehouse.contracts.properties import CustomProperties
from lakehouse.contracts.types import FLOATS
from lakehouse.tables import Column, MergePolicy, Strategy

_MERGE = ("deleted", "key", "lateDays", "sequence")
_DELETE_INSERT = ("key",)
_LATE_DAYS = 36_500


@dataclass(frozen=True)
class Stated:
    """The keys and values of one customProperty, and the columns of the table that they are about."""

    values: Mapping[str, object]
    place: Place
    columns: Mapping[str, Column]

    @classmethod
    def of(cls, name: str, custom: CustomProperties, columns: Mapping[str, Column], known: Sequence[str]) -> Stated:
        """What the property says, nothing where it is not there. Raises ContractError for other keys than `known`."""
        if name not in custom:
            return cls({}, custom.place("strategy"), columns)
        return cls(custom.mapping(name, known), custom.place(name), columns)

    def key(self, otherwise: Sequence[str] | None = None) -> tuple[str, ...]:
        """The columns of `key`. Raises ContractError for those by which rows cannot be told apart."""
        if "key" not in self.values and otherwise is None:
            raise self.place.error(
                "no key", expected="columns that stay the same for one thing", remedy="Add `key: [customer_id]`."
            )
        names = self.names("key") if "key" in self.values else tuple(otherwise or ())
        for position, name in enumerate(names):
            place = self.place / "key" / position if "key" in self.values else self.place
            column = self.columns[name]
            # Iceberg spec, "Identifier Field IDs": NaN is not equal to itself, and 0.0 is to -0.0.
            if column.type in FLOATS or not column.required:
                raise place.error(
                    f"rows are not told apart by {name}",
                    expected="required columns that are neither float nor double",
                    found=_described(column),
                    remedy="Choose another column, make it required, or give it a decimal or integer type.",
                )
        return names

    def names(self, name: str) -> tuple[str, ...]:
        """A list of columns, at least one and none twice. Raises ContractError."""
        value = self.values[name]
        if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
            raise (self.place / name).error(
                f"{name} is a list of columns", found=repr(value), remedy="List one or more columns, or leave it out."
            )
        for position, column in enumerate(value):
            if column not in self.columns:
                raise (self.place / name / position).unknown("column", column, list(self.columns))
            if column in value[:position]:
                raise (self.place / name / position).error(f"{column} is listed twice", remedy="Remove one of them.")
        return tuple(value)

    def column(self, name: str) -> Column:
        """The column that is named. Raises ContractError."""
        value = self.values[name]
        if not isinstance(value, str) or value not in self.columns:
            raise (self.place / name).unknown("column", value, list(self.columns))
        return self.columns[value]

    def marker(self) -> str | None:
        """The result's column `deleted`, which the table does not have. Raises ContractError."""
        value = self.values.get("deleted")
        if value is None:
            return None
        if not isinstance(value, str) or not value:
            raise (self.place / "deleted").error(
                "deleted names a column", found=repr(value), remedy="Write the name of a boolean column of the model."
            )
        # DuckDB does not tell upper from lower case.
        if value.lower() in {name.lower() for name in self.columns}:
            raise (self.place / "deleted").error(
                f"{value} is a column of the table",
                expected="a boolean column that the model yields and the table does not have",
                remedy="Remove it from the columns, or give the model's column another name.",
            )
        return value

    def late(self) -> timedelta:
        """`lateDays`, 30 unless stated. Raises ContractError."""
        days = self.values.get("lateDays", MergePolicy.late.days)
        if isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= _LATE_DAYS:
            raise (self.place / "lateDays").error(
                f"lateDays is a whole number from 0 to {_LATE_DAYS}", found=repr(days), remedy="Write such a number."
            )
        return timedelta(days=days)

    def refuse(self, name: str, column: Column, what: str, expected: str) -> None:
        """Raises ContractError: a column cannot be what it is said, or taken, to be."""
        raise (self.place / name).error(
            f"{column.name} cannot be {what}",
            expected=expected,
            found=_described(column),
            remedy=f"Change the column, or name another one with `{name}`.",
        )


def merge_policy(
    custom: CustomProperties, strategy: Strategy, columns: Mapping[str, Column], primary_key: tuple[str, ...]
) -> MergePolicy | None:
    """What `merge` says, for the strategies `merge` and `delete+insert`; None for any other. Raises ContractError."""
    if strategy not in {Strategy.MERGE, Strategy.DELETE_INSERT}:
        if "merge" in custom:
            raise custom.place("merge").error(
                f"merge with the strategy {strategy}",
                expected="the strategy merge or delete+insert",
                remedy="Remove it, or add the customProperty `strategy: merge`.",
            )
        return None
    stated = Stated.of("merge", custom, columns, _MERGE)
    if strategy is Strategy.DELETE_INSERT:
        _refuse_besides_key(stated)
        return MergePolicy(stated.key(primary_key))
    key = stated.key(primary_key)
    if set(key) != set(primary_key):
        raise (stated.place / "key").error(
            "rows are merged by another key than the primary key, which then came twice",
            expected=", ".join(primary_key),
            found=", ".join(key),
            remedy="Remove `key`, or change the primary key; `strategy: delete+insert` replaces all rows of a key.",
        )
    sequence = _sequence(stated, key)
    deleted, late = stated.marker(), stated.late()
    if "lateDays" in stated.values and (sequence is None or deleted is None):
        raise (stated.place / "lateDays").error(
            "lateDays would have no effect",
            expected="a `sequence`, and `deleted`: a deleted key is remembered because of older rows of it",
            remedy="Add these, or remove it.",
        )
    return MergePolicy(key, None if sequence is None else sequence.name, deleted, late)


def _refuse_besides_key(stated: Stated) -> None:
    for name in stated.values:
        if name not in _DELETE_INSERT:
            raise (stated.place / name).error(
                f"{name} with the strategy delete+insert, which has all rows of a key replaced",
                expected="key alone",
                remedy="Remove it; `strategy: merge` takes one row of each key by its sequence, and deletes.",
            )


def _sequence(stated: Stated, key: Sequence[str]) -> Column | None:
    if stated.values.get("sequence") is None:
        return None
    column = stated.column("sequence")
    if not column.required or column.type in FLOATS or column.name in key:
        stated.refuse(
            "sequence",
            column,
            "the sequence",
            "a required column that is neither float nor double, nor in the key, and higher in a newer row",
        )
    return column


def _described(column: Column) -> str:
    return f"{'a required' if column.required else 'an optional'} {column.type}"
