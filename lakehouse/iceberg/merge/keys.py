"""Which files may hold keys, as far as partitions and column bounds tell.

Whether they do is `found.py`.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any, Self, TypeAlias
from uuid import UUID

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile, ManifestFile
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.transforms import (
    BucketTransform,
    DayTransform,
    HourTransform,
    IdentityTransform,
    MonthTransform,
    Transform,
    TruncateTransform,
    YearTransform,
)
from pyiceberg.types import IcebergType, NestedField, UUIDType

from lakehouse.iceberg.parquet.partition import transformed

_MOST_SPANS = 2**16
_FEW = 10_000
_PER_BUCKET = 16
"""With so many keys for each bucket, hardly a bucket is without one: to compute them all is not worth it."""
_BATCH_ROWS = 131_072
_TIMES = (YearTransform, MonthTransform, DayTransform, HourTransform)

_Value: TypeAlias = Any
"""A value as Iceberg holds it: whole days and microseconds for dates and times, 16 bytes for a UUID."""
_Meets: TypeAlias = Callable[[_Value, _Value], bool]
"""Whether a value of ours may lie between two partition values, both included."""


@dataclass(frozen=True)
class Spans:
    """The values of one key column as spans in ascending order that do not meet: mostly of one value each."""

    field: NestedField
    lows: pa.Array
    highs: pa.Array

    def meet(self, low: _Value, high: _Value, of: Callable[[_Value], _Value] = lambda value: value) -> bool:
        """Whether a span meets [low, high] (None: without end), after a function that keeps the order of its ends."""
        ends = range(len(self.highs))
        at = 0 if low is None else bisect_left(ends, low, key=lambda number: of(self.highs[number].as_py()))
        return at < len(ends) and (high is None or bool(of(self.lows[at].as_py()) <= high))

    def in_column(self, file: DataFile) -> bool:
        """Whether the bounds of the column in a file leave room for a value."""
        field_id, kind = self.field.field_id, self.field.field_type
        nulls = (file.null_value_counts or {}).get(field_id)
        if nulls is not None and nulls == (file.value_counts or {}).get(field_id):
            return False
        low, high = (file.lower_bounds or {}).get(field_id), (file.upper_bounds or {}).get(field_id)
        if isinstance(kind, UUIDType) and low != high:
            # Writers have ordered the two halves as signed numbers and as unsigned ones.
            return True
        return self.meet(_bound(kind, low), _bound(kind, high))

    def in_partition(self, transform: Transform[Any, Any]) -> _Meets | None:
        """Whether values lie in partitions of this transform of the column. None where nothing tells."""
        if isinstance(transform, BucketTransform):
            buckets = self._buckets(transform)
            return None if buckets is None else lambda low, high: any(low <= bucket <= high for bucket in buckets)
        kind = self.field.field_type
        if isinstance(transform, IdentityTransform):
            unordered = isinstance(kind, UUIDType)
            return lambda low, high: (unordered and low != high) or self.meet(low, high)
        if not isinstance(transform, TruncateTransform | YearTransform | MonthTransform | DayTransform | HourTransform):
            return None
        of, times = transform.transform(kind), isinstance(transform, _TIMES)

        def meets(low: _Value, high: _Value) -> bool:
            # Older writers rounded times before 1970 up.
            first = low - 1 if times and low <= 0 else low
            try:
                return self.meet(first, high, of)
            except OverflowError:
                # Python knows no year behind 9999.
                return True

        return meets

    def _buckets(self, transform: BucketTransform[Any]) -> frozenset[int] | None:
        if len(self.lows) > _PER_BUCKET * transform.num_buckets or not self.lows.equals(self.highs):
            return None
        return frozenset(transformed(transform, self.field.field_type, self.lows).to_pylist())


class KeyBounds:
    """Keys as a selection of files (`selection/plan.py`)."""

    def __init__(
        self, keys: Sequence[Spans], specs: Mapping[int, PartitionSpec] | None = None, *, repeated: bool = False
    ) -> None:
        self.repeated = repeated
        """Whether a key came more than once."""
        self._keys = keys
        self._specs = specs or {}
        self._empty = any(not len(key.lows) for key in keys)
        # One test a spec, for as long as these bounds are in use.
        self._tests = lru_cache(maxsize=None)(self._tests_of)

    @classmethod
    def of(cls, cursor: duckdb.DuckDBPyConnection, relation: str, key: Sequence[NestedField]) -> Self:
        """Those of a relation with the columns k0, k1, ..., none of which holds NULL."""
        columns = [f"k{number}" for number in range(len(key))]
        first, repeated = _sorted(cursor, relation, columns, key[0])
        others = [_few(cursor, relation, name, field) for name, field in zip(columns[1:], key[1:], strict=True)]
        return cls([first, *others], repeated=repeated)

    def on(self, metadata: TableMetadata) -> KeyBounds:
        """The same, which also know the partitions of a table."""
        return KeyBounds(self._keys, metadata.specs(), repeated=self.repeated)

    def manifest_may(self, manifest: ManifestFile) -> bool:
        """Whether a manifest may list a file with a key, as far as its partition summaries tell."""
        summaries = manifest.partitions or []
        for number, kind, meets in self._tests(manifest.partition_spec_id):
            low, high = (summaries[number].lower_bound, summaries[number].upper_bound) if summaries else (None, None)
            if low is not None and high is not None and not meets(_bound(kind, low), _bound(kind, high)):
                return False
        return not self._empty

    def file_may(self, file: DataFile) -> bool:
        """Whether a file may hold a key, as far as its partition and the bounds of its columns tell."""
        for number, _, meets in self._tests(file.spec_id):
            value = file.partition[number]
            value = value.bytes if isinstance(value, UUID) else value
            # A key is never NULL, so nothing of it is in a partition of NULL.
            if value is None or not meets(value, value):
                return False
        return not self._empty and all(key.in_column(file) for key in self._keys)

    def _tests_of(self, spec_id: int) -> tuple[tuple[int, IcebergType, _Meets], ...]:
        """Partition fields of key columns: their place in the spec, the type of their values, and what lies in them."""
        spec = self._specs.get(spec_id)
        found = [
            (number, field.transform.result_type(key.field.field_type), key.in_partition(field.transform))
            for number, field in enumerate(spec.fields if spec else ())
            for key in self._keys
            if key.field.field_id == field.source_id
        ]
        return tuple((number, kind, meets) for number, kind, meets in found if meets is not None)


def _bound(kind: IcebergType, bound: bytes | None) -> _Value | None:
    if bound is None:
        return None
    try:
        return from_bytes(kind, bound)  # type: ignore[arg-type]  # columns of keys and partitions are primitive
    except (ValueError, struct.error):
        # Some cut a text in the middle of a letter.
        return None


def _sorted(
    cursor: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str], field: NestedField
) -> tuple[Spans, bool]:
    """The spans of the first column, and whether two rows are equal in all: both come of one sort, batch by batch."""
    asked = ", ".join([_value(columns[0], field), *columns[1:]])
    sorted_rows = cursor.execute(f"SELECT {asked} FROM {relation} ORDER BY {', '.join(columns)}")
    spans, repeated = _Growing(), False
    before: pa.RecordBatch | None = None
    for batch in sorted_rows.to_arrow_reader(_BATCH_ROWS):
        # Each row against the one before it, also where that is the last of another batch.
        rows = pa.concat_batches([before, batch]) if before is not None else batch
        same = [pc.equal(column[1:], column[:-1]) for column in rows.columns]
        repeated = repeated or bool(pc.any(reduce(pc.and_, same)).as_py())
        if before is None:
            spans.add(batch.column(0)[:1])
        spans.add(rows.column(0)[1:].filter(pc.invert(same[0])))
        before = batch.slice(batch.num_rows - 1)
    return Spans(field, *spans.ends()), repeated


def _few(cursor: duckdb.DuckDBPyConnection, relation: str, column: str, field: NestedField) -> Spans:
    """The values of a further column if they are few, else one span of them all."""
    value = _value(column, field)
    [(few,)] = cursor.execute(f"SELECT approx_count_distinct({column}) <= {_FEW} FROM {relation}").fetchall()
    if few:
        found = cursor.execute(f"SELECT DISTINCT {value} AS value FROM {relation} ORDER BY value").to_arrow_table()
        values = _plain(found.column(0).combine_chunks())
        return Spans(field, values, values)
    found = cursor.execute(f"SELECT min({value}), max({value}) FROM {relation}").to_arrow_table()
    return Spans(field, *(_plain(column.combine_chunks()) for column in found.columns))


def _value(column: str, field: NestedField) -> str:
    return f"unhex(replace({column}::VARCHAR, '-', ''))" if isinstance(field.field_type, UUIDType) else column


def _plain(values: pa.Array) -> pa.Array:
    """Dates and times as whole days and microseconds."""
    if not pa.types.is_temporal(values.type):
        return values
    return values.view(pa.int32() if values.type.bit_width == pa.int32().bit_width else pa.int64())


class _Growing:
    """Spans of ascending values that are put together two by two when there are too many."""

    def __init__(self) -> None:
        self._lows: list[pa.Array] = []
        self._highs: list[pa.Array] = []
        self._count = 0

    def add(self, values: pa.Array) -> None:
        """Take in values, each above those before."""
        self._lows.append(_plain(values))
        self._highs.append(_plain(values))
        self._count += len(values)
        while self._count > 2 * _MOST_SPANS:
            lows, highs = self.ends()
            ends = np.minimum(np.arange(1, self._count + 1, 2), self._count - 1)
            self._lows, self._highs = [lows.take(pa.array(np.arange(0, self._count, 2)))], [highs.take(pa.array(ends))]
            self._count = len(self._lows[0])

    def ends(self) -> tuple[pa.Array, pa.Array]:
        """The first and the last value of each span."""
        return tuple(pa.concat_arrays(parts) if parts else pa.nulls(0) for parts in (self._lows, self._highs))
