"""Partition values: the Iceberg spec's own test values, and what other engines get wrong around zero and 1970."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import parse_transform
from pyiceberg.types import (
    BinaryType,
    DateType,
    DecimalType,
    DoubleType,
    FixedType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from lakehouse.iceberg.parquet.partition import Partition, Splitter
from lakehouse.iceberg.schemas.schema import arrow_of

_MOST = 2**31 - 1
_FROM_PST = timezone(timedelta(hours=-8))
_BEFORE = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


def batch_of(kind: IcebergType, values: Sequence[object]) -> tuple[Schema, pa.RecordBatch]:
    schema = Schema(NestedField(1, "v", kind))
    physical = arrow_of(schema, field_ids=False).field("v").type
    if isinstance(physical, pa.BaseExtensionType):
        return schema, pa.record_batch(
            [pa.ExtensionArray.from_storage(physical, pa.array(values, pa.binary(16)))], ["v"]
        )
    return schema, pa.record_batch([pa.array(values, physical)], ["v"])


def split(transform: str, kind: IcebergType, values: Sequence[object]) -> list[tuple[Partition, pa.RecordBatch]]:
    schema, batch = batch_of(kind, values)
    spec = PartitionSpec(PartitionField(1, 1000, parse_transform(transform), "p"))
    return list(Splitter(spec, schema).split(batch))


def values_of(transform: str, kind: IcebergType, values: Sequence[object]) -> list[object]:
    """The partition value of each value, one after another."""
    return [partition.values[0] for value in values for partition, _ in split(transform, kind, [value])]


@pytest.mark.parametrize(
    ("kind", "value", "hashed"),
    [
        (IntegerType(), 34, 2017239379),
        (LongType(), 34, 2017239379),
        (DecimalType(9, 2), Decimal("14.20"), -500754589),
        (DateType(), date(2017, 11, 16), -653330422),
        (TimeType(), time(22, 31, 8), -662762989),
        (TimestampType(), datetime(2017, 11, 16, 22, 31, 8), -2047944441),  # noqa: DTZ001  (naive on purpose)
        (TimestampType(), datetime(2017, 11, 16, 22, 31, 8, 1), -1207196810),  # noqa: DTZ001
        (TimestamptzType(), datetime(2017, 11, 16, 14, 31, 8, tzinfo=_FROM_PST), -2047944441),
        (TimestamptzType(), datetime(2017, 11, 16, 14, 31, 8, 1, tzinfo=_FROM_PST), -1207196810),
        (StringType(), "iceberg", 1210000089),
        (UUIDType(), uuid.UUID("f79c3e09-677c-4bbd-a479-3f349cb785e7").bytes, 1488055340),
        (FixedType(4), b"\x00\x01\x02\x03", -188683207),
        (BinaryType(), b"\x00\x01\x02\x03", -188683207),
    ],
)
def test_buckets_are_those_of_the_spec(kind: IcebergType, value: object, hashed: int) -> None:
    """Iceberg spec, Appendix B, "32-bit Hash Requirements"."""
    assert values_of(f"bucket[{_MOST}]", kind, [value]) == [(hashed & _MOST) % _MOST]
    assert values_of("bucket[16]", kind, [value]) == [(hashed & _MOST) % 16]


@pytest.mark.parametrize(
    ("transform", "kind", "given_values", "expected"),
    [
        ("truncate[10]", IntegerType(), [1, -1, -10, -11], [0, -10, -10, -20]),
        ("truncate[10]", LongType(), [1, -1, -10, -11], [0, -10, -10, -20]),
        (
            "truncate[50]",
            DecimalType(9, 2),
            [Decimal("10.65"), Decimal("-10.65"), Decimal("-0.01")],
            [Decimal("10.50"), Decimal("-11.00"), Decimal("-0.50")],
        ),
        ("truncate[3]", StringType(), ["iceberg", "イロハニ", "a😀bc", ""], ["ice", "イロハ", "a😀b", ""]),
        ("truncate[3]", BinaryType(), [b"\x00\xff\x01\x02", b"ab"], [b"\x00\xff\x01", b"ab"]),
        ("hour", TimestamptzType(), [_BEFORE, datetime(1970, 1, 1, 1, tzinfo=UTC)], [-1, 1]),
        ("day", TimestamptzType(), [_BEFORE, datetime(1970, 1, 2, tzinfo=UTC)], [-1, 1]),
        ("month", TimestamptzType(), [_BEFORE, datetime(1968, 1, 1, tzinfo=UTC)], [-1, -24]),
        ("year", TimestamptzType(), [_BEFORE, datetime(1, 1, 1, tzinfo=UTC)], [-1, -1969]),
        ("day", TimestamptzType(), [datetime(2026, 1, 1, 20, tzinfo=_FROM_PST)], [20_455]),
        ("day", DateType(), [date(1969, 12, 31), date(1970, 1, 1)], [-1, 0]),
        ("month", DateType(), [date(1969, 12, 31), date(2017, 12, 1)], [-1, 575]),
        ("year", DateType(), [date(1969, 12, 31), date(2017, 12, 1)], [-1, 47]),
        ("void", LongType(), [1, None], [None, None]),
        ("void", StringType(), ["x"], [None]),
        ("identity", TimeType(), [time(1)], [3_600_000_000]),
        ("identity", UUIDType(), [b"0123456789abcdef"], [b"0123456789abcdef"]),
    ],
)
def test_values_are_those_of_the_spec(
    transform: str, kind: IcebergType, given_values: list[object], expected: list[object]
) -> None:
    """Iceberg spec, "Partition Transforms": floors, not roundings towards zero; code points, not bytes."""
    assert values_of(transform, kind, given_values) == expected


def test_nan_is_one_partition_in_every_batch() -> None:
    schema, batch = batch_of(DoubleType(), [1.0, float("nan"), None, float("nan")])
    splitter = Splitter(PartitionSpec(PartitionField(1, 1000, parse_transform("identity"), "p")), schema)
    found = {partition for _ in range(3) for partition, _ in splitter.split(batch)}
    assert {partition.folder for partition in found} == {"p=1.0", "p=nan", "p=null"}
    assert len(found) == 3


def test_a_partition_of_six_keys_with_many_values_each() -> None:
    """The product of the numbers of their values does not fit 64 bits."""
    count = 3000
    names = "abcdef"
    schema = Schema(*(NestedField(number, name, LongType()) for number, name in enumerate(names, start=1)))
    spec = PartitionSpec(
        *(PartitionField(n, 1000 + n, parse_transform("identity"), f"p{n}") for n in range(1, len(names) + 1))
    )
    batch = pa.record_batch([pa.array(range(count), pa.int64())] * len(names), list(names))
    parts = list(Splitter(spec, schema).split(batch))
    assert len(parts) == count
    assert all(len(part) == 1 and part["a"][0].as_py() == partition.values[0] for partition, part in parts)


@given(values=st.lists(st.tuples(st.integers(-3, 3) | st.none(), st.sampled_from(["x", "y", None])), min_size=1))
def test_every_row_is_in_the_part_of_its_values_in_its_order(values: list[tuple[int | None, str | None]]) -> None:
    schema = Schema(NestedField(1, "a", LongType()), NestedField(2, "b", StringType()), NestedField(3, "n", LongType()))
    spec = PartitionSpec(
        PartitionField(1, 1000, parse_transform("identity"), "pa"),
        PartitionField(2, 1001, parse_transform("identity"), "pb"),
    )
    rows = [{"a": a, "b": b, "n": number} for number, (a, b) in enumerate(values)]
    batch = pa.RecordBatch.from_pylist(rows, pa.schema([("a", pa.int64()), ("b", pa.string()), ("n", pa.int64())]))
    parts = Splitter(spec, schema).split(batch)
    found = {(partition.values[0], partition.values[1]): part.to_pylist() for partition, part in parts}
    assert found == {key: [row for row in rows if (row["a"], row["b"]) == key] for key in set(values)}
