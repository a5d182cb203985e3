"""Where a source is not what its contract says: found before rows are read, and in the rows; and what is done then.

`look` compares what the source says of itself; the door notes what rows bring that nobody had said (`door.py`). Single
values are the door's business: one that does not have its column's type is rejected whatever the source says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import structlog

from lakehouse.errors import SourceChanged
from lakehouse.sources import SourceColumn, SourceReader
from lakehouse.sources.source_types import holds
from lakehouse.tables import EXTRA, Drift, Table

SCHEMA_DRIFT = "schema_drift"
"""The rule that every row of a load breaks whose source is not what the contract says (`drift: quarantine`)."""

_RECORDS = "JSON"
_MADE = frozenset({"_extracted_at", "_source", "_run_key", EXTRA})
"""The metadata columns that a load writes itself: a source's column of such a name is another."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Difference:
    """A column with its types in the contract and in the source; None: it is not there, "" : its type is not known."""

    column: str
    contract: str | None
    source: str | None

    def __str__(self) -> str:
        """As messages name it."""
        if self.source is None:
            return f"{self.column} is gone"
        if self.contract is None:
            return f"{self.column} is new" + (f" ({self.source})" if self.source else "")
        return f"{self.column} is {self.source}, and {self.contract} in the contract"


class SourceDrift:
    """The differences that one load has met so far."""

    def __init__(self, table: Table, described: Iterable[SourceColumn] = ()) -> None:
        """Raises SourceChanged where the contract wants none (`drift: freeze`), as `note` does."""
        self._table = table
        self._policy = table.load.drift if table.load is not None else Drift.EVOLVE
        self._found: dict[str, Difference] = {}
        self._add(_described(table, tuple(described)))

    @property
    def differences(self) -> tuple[Difference, ...]:
        """What was found, columns that the source describes first."""
        return tuple(self._found.values())

    @property
    def holds_rows(self) -> bool:
        """Whether every row is to be rejected from here on."""
        return bool(self._found) and self._policy is Drift.QUARANTINE

    @property
    def told(self) -> str:
        """The differences in a sentence."""
        return f"the source is not what the contract says: {'; '.join(map(str, self.differences))}"

    def note(self, names: Iterable[str]) -> None:
        """Columns that rows have and the contract does not name."""
        self._add(Difference(name, None, "") for name in names if name not in self._found)

    def _add(self, differences: Iterable[Difference]) -> None:
        new = {difference.column: difference for difference in differences}
        if not new:
            return
        self._found |= new
        _log.warning("source changed", table=str(self._table.name), differences=[str(one) for one in new.values()])
        if self._policy is Drift.FREEZE:
            raise SourceChanged(
                f"the source of {self._table.name} is not what its contract says, so nothing was read",
                expected=f"the columns of {self._table.file} (drift: freeze)",
                found="; ".join(map(str, self.differences)),
                remedy="Bring the contract up to date, name columns that nobody wants in the load option `ignore`,"
                " or let loads go on: the customProperty `drift: evolve`.",
            )


def look(source: SourceReader, table: Table) -> SourceDrift:
    """Compare what a source says of itself with the contract, before its first row is asked for.

    Raises SourceChanged where the contract wants no difference, and what `SourceReader.columns` raises.
    """
    return SourceDrift(table, source.columns())


def unnamed(table: Table, names: Iterable[str]) -> tuple[str, ...]:
    """Those of a source's columns that the contract neither names nor ignores."""
    named = {column.name for column in table.stored_columns} - _MADE
    ignored = table.load.ignored if table.load is not None else frozenset()
    return tuple(name for name in names if name not in named and name not in ignored)


def _described(table: Table, described: tuple[SourceColumn, ...]) -> Iterator[Difference]:
    """Nothing where the source cannot describe itself."""
    there = {column.name: column for column in described}
    for name in unnamed(table, there):
        yield Difference(name, None, there[name].type)
    # A record may lack what it has no value for; of a few of them that is no news.
    records = all(column.type == _RECORDS for column in described)
    ignored = table.load.ignored if table.load is not None else frozenset()
    for column in table.source_columns:
        if column.name not in there:
            if described and not records:
                yield Difference(column.name, column.type, None)
        elif column.name not in ignored and not holds(column.type, there[column.name].type):
            yield Difference(column.name, column.type, there[column.name].type)
