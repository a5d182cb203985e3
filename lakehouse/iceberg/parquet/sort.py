"""Rows in a table's sort order, also when they are more than memory takes: sorted runs on disk, merged.

Where runs are kept is `spill.py`; what is done with sorted rows is `writer.py`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import NullOrder, SortDirection, SortOrder
from pyiceberg.transforms import IdentityTransform

from lakehouse.iceberg.parquet.spill import Run, Spill, bytes_of

_FAN_IN = 32
_IN_MEMORY_BYTES = 32 * 2**20
_NUMBER, _NAN, _NULL = 0, 1, 2

_Key: TypeAlias = tuple[tuple[int, Any], ...]


@dataclass(frozen=True)
class RowOrder:
    """Columns by which rows ascend: numbers, then NaN, then NULL (Iceberg spec, "Sorting"); ties stay as they came."""

    columns: tuple[str, ...]

    @classmethod
    def of(cls, order: SortOrder, schema: Schema) -> RowOrder | None:
        """The order of a table. None where it has none, or one that another program declared and we do not write.

        We declare, and write, ascending columns with NULL last.
        """
        top = {field.field_id: field.name for field in schema.fields}
        ours = all(
            field.source_id in top
            and isinstance(field.transform, IdentityTransform)
            and field.direction is SortDirection.ASC
            and field.null_order is NullOrder.NULLS_LAST
            for field in order.fields
        )
        return cls(tuple(top[field.source_id] for field in order.fields)) if order.fields and ours else None

    def sorted(self, rows: pa.Table) -> pa.Table:
        """The rows in this order, stable."""
        # Numbers as names: a column may be called anything.
        keys = pa.table({str(number): key for number, key in enumerate(self.keys(rows))})
        order = pc.sort_indices(keys, sort_keys=[(name, "ascending", "at_end") for name in keys.column_names])
        return rows.take(order)

    def merged(
        self, spill: Spill, runs: Sequence[Run], *, in_memory: int = _IN_MEMORY_BYTES, fan_in: int = _FAN_IN
    ) -> Iterator[pa.Table]:
        """All rows of sorted runs in this order; ties in the order of the runs.

        Up to `in_memory` bytes are sorted at once. Else one chunk of each run is held, and as much of what is given
        out; more than `fan_in` runs are first merged to fewer.
        """
        if bytes_of(runs) <= in_memory:
            if batches := [batch for run in runs for batch in spill.read(run)]:
                yield self.sorted(pa.Table.from_batches(batches))
            return
        while len(runs) > fan_in:
            runs = [self._one_run(spill, runs[start : start + fan_in]) for start in range(0, len(runs), fan_in)]
        yield from self._merge([_Cursor(self, spill.read(run)) for run in runs])

    def keys(self, rows: pa.Table | pa.RecordBatch) -> list[pa.Array | pa.ChunkedArray]:
        """The columns to compare, as types whose order is Arrow's and Python's alike."""
        return [_comparable(rows.column(name)) for name in self.columns]

    def _one_run(self, spill: Spill, runs: Sequence[Run]) -> Run:
        merged = self._merge([_Cursor(self, spill.read(run)) for run in runs])
        return [chunk for rows in merged for chunk in spill.put(rows)]

    def _merge(self, cursors: Sequence[_Cursor]) -> Iterator[pa.Table]:
        while cursors := [cursor for cursor in cursors if cursor.loaded()]:
            # What a run holds beyond its loaded rows comes after them: up to the smallest last row all is known.
            bound = min(range(len(cursors)), key=lambda number: cursors[number].last)
            last = cursors[bound].last
            parts = [cursor.take(last, ties=number <= bound) for number, cursor in enumerate(cursors)]
            parts = [part for part in parts if part.num_rows]
            rows = pa.Table.from_batches(parts)
            yield rows if len(parts) == 1 else self.sorted(rows.combine_chunks())


class _Cursor:
    """The place in a sorted run: one batch of it in memory, of which the first rows were given out."""

    def __init__(self, order: RowOrder, batches: Iterable[pa.RecordBatch]) -> None:
        self._order = order
        self._batches = iter(batches)
        self._rows: pa.RecordBatch | None = None
        self._keys: list[pa.Array] = []
        self.last: _Key = ()

    def loaded(self) -> bool:
        """Whether there is a row in memory, after reading the next batch where there was none."""
        if self._rows is None or not self._rows.num_rows:
            self._rows = next(self._batches, None)
            if self._rows is None:
                return False
            self._keys = self._order.keys(self._rows)
            self.last = self._key(self._rows.num_rows - 1)
        return True

    def take(self, bound: _Key, *, ties: bool) -> pa.RecordBatch:
        """The loaded rows before `bound`, with those equal to it or without, which are then no longer loaded."""
        assert self._rows is not None  # noqa: S101  (for the type checker: `loaded` said so)
        cut = (bisect_right if ties else bisect_left)(range(self._rows.num_rows), bound, key=self._key)
        part, self._rows = self._rows.slice(0, cut), self._rows.slice(cut)
        self._keys = [key.slice(cut) for key in self._keys]
        return part

    def _key(self, row: int) -> _Key:
        return tuple(_ranked(key[row].as_py()) for key in self._keys)


def _ranked(value: object) -> tuple[int, Any]:
    if value is None:
        return _NULL, 0
    return (_NAN, 0) if value != value else (_NUMBER, value)  # noqa: PLR0124  (only NaN differs from itself)


def _comparable(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return column.cast(kind.storage_type)
    if pa.types.is_date32(kind):
        return column.cast(pa.int32())
    # Python has no time before the year 1 and none after 9999.
    return column.cast(pa.int64()) if pa.types.is_timestamp(kind) or pa.types.is_time64(kind) else column
