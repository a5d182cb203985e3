"""Splitting a batch by the partitions its rows belong to.

Which file a partition's rows go to is `writer.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.partitioning import PartitionSpec, partition_record_value
from pyiceberg.schema import Schema
from pyiceberg.transforms import (
    BucketTransform,
    DayTransform,
    HourTransform,
    IdentityTransform,
    MonthTransform,
    Transform,
    YearTransform,
)
from pyiceberg.typedef import Record
from pyiceberg.types import IcebergType

_EPOCH_YEAR = 1970
_HOUR_US = 3_600_000_000


@dataclass(frozen=True)
class Partition:
    """One partition: its values in Iceberg's own representation, and its folder ("order_date_day=2026-01-01")."""

    values: Record
    folder: str


class Splitter:
    """Splits batches of one table, by every transform of the Iceberg spec."""

    def __init__(self, spec: PartitionSpec, schema: Schema) -> None:
        self._spec = spec
        self._schema = schema
        self._sources = [schema.find_field(field.source_id) for field in spec.fields]
        self._known: dict[tuple[object, ...], Partition] = {}

    def split(self, batch: pa.RecordBatch) -> Iterator[tuple[Partition, pa.RecordBatch]]:
        """The batch's rows by partition, each part in the order of the batch."""
        if not self._spec.fields:
            yield self._partition(()), batch
            return
        keys = [
            transformed(field.transform, source.field_type, batch.column(source.name))
            for field, source in zip(self._spec.fields, self._sources, strict=True)
        ]
        codes = _codes(keys)
        if pc.min_max(codes)["min"] == pc.min_max(codes)["max"]:
            yield self._partition(tuple(key[0].as_py() for key in keys)), batch
            return
        # Stable, so that rows stay in their order within each partition.
        order = pc.sort_indices(codes)
        start = 0
        for end in pc.run_end_encode(codes.take(order), run_end_type=pa.int64()).run_ends.to_pylist():
            part = order.slice(start, end - start)
            first = part[0].as_py()
            yield self._partition(tuple(key[first].as_py() for key in keys)), batch.take(part)
            start = end

    def _partition(self, key: tuple[object, ...]) -> Partition:
        # One NaN for all: another would equal none that is known, and each batch would begin a partition of its own.
        key = tuple(math.nan if value != value else value for value in key)  # noqa: PLR0124  (only NaN differs)
        known = self._known.get(key)
        if known is None:
            values = Record(
                *(
                    # PyIceberg would take the bucket of a time for a time.
                    value if isinstance(value, int) else partition_record_value(field, value, self._schema)
                    for field, value in zip(self._spec.fields, key, strict=True)
                )
            )
            folder = self._spec.partition_to_path(values, self._schema) if key else ""
            known = self._known[key] = Partition(values, folder)
        return known


def transformed(transform: Transform[Any, Any], source: IcebergType, values: pa.Array) -> pa.Array:
    """The partition value of each value (Iceberg spec, "Partition Transforms"), NULL for NULL.

    PyIceberg computes them on Arrow arrays only where its Rust part is installed; it need not be.
    """
    if isinstance(values.type, pa.BaseExtensionType):
        # A UUID is its 16 bytes.
        values = values.storage
    match transform:
        case IdentityTransform():
            return values
        case YearTransform():
            return pc.subtract(pc.year(values), _EPOCH_YEAR)
        case MonthTransform():
            return pc.add(pc.multiply(pc.subtract(pc.year(values), _EPOCH_YEAR), 12), pc.subtract(pc.month(values), 1))
        case DayTransform():
            days = (
                values if pa.types.is_date(values.type) else pc.cast(pc.floor_temporal(values, unit="day"), pa.date32())
            )
            return pc.cast(days, pa.int32())
        case HourTransform():
            micros = pc.cast(pc.cast(pc.floor_temporal(values, unit="hour"), pa.timestamp("us")), pa.int64())
            return pc.divide(micros, _HOUR_US)
    return _by_distinct_value(transform, source, values)


def _by_distinct_value(transform: Transform[Any, Any], source: IcebergType, values: pa.Array) -> pa.Array:
    """Bucket and truncate, by PyIceberg's function of one value."""
    if pa.types.is_temporal(values.type):
        # The function speaks of days and microseconds.
        values = pc.cast(values, pa.int32() if pa.types.is_date(values.type) else pa.int64())
    encoded = pc.dictionary_encode(values)
    of_value = transform.transform(source)
    kind = pa.int32() if isinstance(transform, BucketTransform) else values.type
    return pa.array([of_value(value) for value in encoded.dictionary.to_pylist()], kind).take(encoded.indices)


def _codes(keys: list[pa.Array]) -> pa.Array:
    """One number a row, equal exactly where all keys are equal (NULL and NaN are values like others)."""

    def code(key: pa.Array) -> tuple[pa.Array, int]:
        encoded = pc.dictionary_encode(key, null_encoding="encode")
        return pc.cast(encoded.indices, pa.int64()), len(encoded.dictionary)

    def both(left: tuple[pa.Array, int], right: tuple[pa.Array, int]) -> tuple[pa.Array, int]:
        # Encoded anew, for the product of many keys' numbers of values would not fit 64 bits.
        return code(pc.add(pc.multiply(left[0], right[1]), right[0]))

    return reduce(both, map(code, keys))[0]
