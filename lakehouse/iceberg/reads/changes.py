"""What changed between two snapshots of a table: the net effect, row by row, with the days it touches.

Which files are read for it is `delta.py`; comparing rows, `net.py`; days without reading rows, `changed_days.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import FileScanTask
from pyiceberg.types import NestedField

from lakehouse.errors import QueryError
from lakehouse.iceberg.reads.delta import Delta, delta_of
from lakehouse.iceberg.reads.net import Net
from lakehouse.iceberg.reads.scan import State, projected, read_files
from lakehouse.iceberg.schemas.schema import arrow_of
from lakehouse.iceberg.selection.window import NO_DAY, days_of, window_column

CHANGE = "_change"
"""The column that says what happened to a row: "insert", "delete", "update_before" or "update_after"."""


class Changes:
    """The changes after snapshot `since`, up to and with snapshot `until` (None: the table was never written to).

    A context manager: rows that have to be compared wait in a temporary folder until it is closed. `append_only` says
    that rows were only added since; then nothing is compared, and each new row is an insert.
    """

    def __init__(self, state: State, since: int, key: Sequence[str]) -> None:
        """Raises SnapshotMissing, and QueryError for an unknown key column or equality deletes."""
        projected(state.schema, key)
        self.since = since
        self.until = state.snapshot.snapshot_id if state.snapshot else None
        self._state = state
        self._key = tuple(key)
        self._arrow = arrow_of(state.schema, field_ids=False)
        if CHANGE in self._arrow.names:
            raise QueryError(f"{state.name} has a column {CHANGE} of its own", remedy="Rename it.")
        self._delta: Delta = delta_of(state, since)
        self.append_only = self._delta.append_only

    def __enter__(self) -> Self:
        """The changes themselves."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Remove what was kept on disk. What needs it is worked out anew when it is asked for again."""
        net: Net | None = self.__dict__.pop("_net", None)
        if net is not None:
            net.close()

    def rows(self) -> pa.RecordBatchReader:
        """The changed rows in bounded batches: `_change`, then the table's columns of the later state.

        With a key, both images of an update follow one another. Raises QueryError for a key that is there twice,
        CatalogError.
        """
        if self.append_only and self._key:
            self._refuse_twice()
        schema = pa.schema([pa.field(CHANGE, pa.string(), nullable=False), *self._arrow])
        changed = self._inserted() if self.append_only else self._net.rows()
        batches = (pa.RecordBatch.from_arrays([change, *rows.columns], schema=schema) for change, rows in changed)
        return pa.RecordBatchReader.from_batches(schema, batches)

    def counts(self) -> Mapping[str, int]:
        """How many rows are an "insert", a "delete", an "update". Raises as `rows` does."""
        if self.append_only:
            return {"insert": sum(task.file.record_count for task in self._delta.added), "delete": 0, "update": 0}
        return self._net.counts()

    @cached_property
    def days(self) -> tuple[date, ...]:
        """The days of the window column, in UTC, that rows before and after lie on, in order; NULL is on no day.

        Raises CommitError for a table without a window column, and as `rows` does.
        """
        column = window_column(self._state.name, self._state.metadata)
        found = self._days_added(column) if self.append_only else self._net.days(column.name)
        return tuple(sorted(found))

    @cached_property
    def _net(self) -> Net:
        net = Net(self._state.name, self._arrow, self._key)
        net.fill(self._read(self._delta.added), self._read(self._delta.removed))
        return net

    def _read(self, tasks: Iterable[FileScanTask], columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        return read_files(self._state, tasks, projected(self._state.schema, columns))

    def _inserted(self) -> Iterator[tuple[pa.Array, pa.RecordBatch]]:
        for batch in self._read(self._delta.added):
            yield pa.array(["insert"] * batch.num_rows, pa.string()), batch

    def _refuse_twice(self) -> None:
        """Nothing is compared here, but a key that is there twice is an error all the same."""
        keys = Net(self._state.name, pa.schema([self._arrow.field(name) for name in self._key]), self._key)
        try:
            keys.fill(self._read(self._delta.added, self._key), ())
        finally:
            keys.close()

    def _days_added(self, column: NestedField) -> set[date]:
        """From metadata where a file holds one day only, else from the column itself."""
        found: set[date] = set()
        unknown = []
        for task in self._delta.added:
            days = days_of(self._state.metadata, column, task.file)
            if days is None or days[0] != days[1]:
                unknown.append(task)
            elif days != NO_DAY:
                found.add(days[0])
        for batch in self._read(unknown, [column.name]):
            days_there = pc.cast(pc.floor_temporal(batch.column(0), unit="day"), pa.date32())
            found |= set(pc.unique(days_there).to_pylist()) - {None}
        return found
