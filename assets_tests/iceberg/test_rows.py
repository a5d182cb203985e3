"""Which rows a table takes: columns, types and NULL, refused by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lakehouse.errors import SchemaMismatch
from lakehouse.iceberg import Lake, LakeTable, connect
from lakehouse.settings import Settings
from lakehouse.tables import Column, Layer, Table, TableName

Rows = Callable[..., pa.Table]


def one(lake: Lake, kind: str, *, required: bool = False) -> LakeTable:
    columns = (Column("value", kind, required=required),)
    name = TableName(Layer.SILVER, "one")
    return lake.create(Table(name=name, domain="d", description="", columns=columns, file=Path("one.yaml")))


def stored(table: LakeTable) -> list[Any]:
    values: list[Any] = table.scan().read_all()["value"].to_pylist()
    return values


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("long", pa.array([1, 2], pa.int8()), [1, 2]),
        ("int", pa.array([1], pa.int64()), [1]),
        ("long", pa.array([Decimal(7)], pa.decimal128(38, 0)), [7]),
        ("double", pa.array([3], pa.int32()), [3.0]),
        ("double", pa.array([1.5], pa.float32()), [1.5]),
        ("decimal(12, 2)", pa.array([Decimal("1.50")], pa.decimal128(38, 2)), [Decimal("1.50")]),
        ("decimal(12, 2)", pa.array([5], pa.int64()), [Decimal("5.00")]),
        ("string", pa.array(["a"], pa.large_string()), ["a"]),
        ("string", pa.array(["a"], pa.string_view()), ["a"]),
        ("string", pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        ("binary", pa.array([b"x"], pa.large_binary()), [b"x"]),
        ("date", pa.array([date(2026, 1, 1)], pa.date64()), [date(2026, 1, 1)]),
        ("time", pa.array([time(1, 2)], pa.time32("s")), [time(1, 2)]),
        ("boolean", pa.array([True, None]), [True, None]),
        ("timestamp", pa.array([datetime(2026, 1, 1)], pa.timestamp("ns")), [datetime(2026, 1, 1)]),  # noqa: DTZ001  (naive on purpose)
        ("long", pa.nulls(2), [None, None]),
    ],
)
def test_values_are_kept_in_the_tables_type(lake: Lake, kind: str, given: pa.Array, expected: list[Any]) -> None:
    table = one(lake, kind)
    table.append(pa.table({"value": given}), run_key="a")
    assert stored(table) == expected


def test_a_zoned_timestamp_becomes_the_same_moment_in_utc(lake: Lake) -> None:
    table = one(lake, "timestamptz")
    moment = datetime(2026, 7, 1, 10, tzinfo=UTC)
    table.append(pa.table({"value": pa.array([moment], pa.timestamp("ms", tz="Europe/Berlin"))}), run_key="a")
    assert stored(table) == [moment]
    assert table.schema().field("value").type == pa.timestamp("us", tz="UTC")


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("long", pa.array(["1"])),
        ("date", pa.array(["2026-01-01"])),
        ("string", pa.array([1])),
        ("int", pa.array([2**40])),
        ("long", pa.array([1.0])),
        ("decimal(12, 2)", pa.array([1.5])),
        ("decimal(12, 2)", pa.array([Decimal("1.234")])),
        ("decimal(4, 2)", pa.array([Decimal("123.45")])),
        ("boolean", pa.array([1])),
        ("timestamptz", pa.array([datetime(2026, 1, 1)])),  # noqa: DTZ001  (naive on purpose)
        ("date", pa.array([datetime(2026, 1, 1, 5)])),  # noqa: DTZ001
        ("timestamp", pa.array([1], pa.timestamp("ns"))),
    ],
)
def test_a_value_that_would_change_is_refused_by_the_columns_name(lake: Lake, kind: str, given: pa.Array) -> None:
    table = one(lake, kind)
    with pytest.raises(SchemaMismatch, match="value"):
        table.append(pa.table({"value": given}), run_key="a")
    assert table.snapshots() == ()


def test_missing_and_unknown_columns_are_named_together(lake: Lake, orders: Table, rows: Rows) -> None:
    given = rows([1]).drop_columns(["amount", "email"]).append_column("coupon", [[1]])
    with pytest.raises(SchemaMismatch) as caught:
        lake.create(orders).append(given, run_key="a")
    assert caught.value.found == "missing amount, email; unknown coupon"


def test_a_column_twice_is_refused(lake: Lake) -> None:
    twice = pa.table([pa.array([1]), pa.array([2])], names=["value", "value"])
    with pytest.raises(SchemaMismatch, match="twice value"):
        one(lake, "long").append(twice, run_key="a")


def test_null_in_a_required_column_is_counted(lake: Lake) -> None:
    table = one(lake, "long", required=True)
    with pytest.raises(SchemaMismatch, match="2 NULL in value"):
        table.append(pa.table({"value": pa.array([1, None, None])}), run_key="a")
    assert table.snapshots() == ()


def test_null_in_a_late_batch_leaves_no_file(lake: Lake, settings: Settings) -> None:
    table = one(lake, "long", required=True)
    batches = [pa.record_batch({"value": pa.array(values, pa.int64())}) for values in ([1, 2], [3, None])]
    with pytest.raises(SchemaMismatch, match="after 2 good ones"):
        table.append(pa.RecordBatchReader.from_batches(batches[0].schema, iter(batches)), run_key="a")
    assert not list((settings.state / "warehouse").rglob("*.parquet"))


def test_columns_are_matched_by_name(lake: Lake, orders: Table, rows: Rows) -> None:
    table = lake.create(orders)
    given = rows([1, 2])
    table.append(given.select(list(reversed(given.column_names))), run_key="a")
    assert table.scan().read_all().sort_by("order_id").equals(given.cast(table.schema()))


def test_what_duckdb_yields_is_taken(lake: Lake, settings: Settings, orders: Table) -> None:
    table = lake.create(orders)
    sql = """select sum(i)::bigint as order_id, date '2026-01-01' as order_date, avg(i)::decimal(12, 2) as amount,
             timestamptz '2026-01-01 10:00:00+02' as paid_at, 'x'::enum('x', 'y') as email from range(5) t(i)"""
    with connect(settings) as connection:
        table.append(connection.sql(sql).to_arrow_reader(100), run_key="a")
    [row] = table.scan().read_all().to_pylist()
    assert row == {
        "order_id": 10,
        "order_date": date(2026, 1, 1),
        "amount": Decimal("2.00"),
        "paid_at": datetime(2026, 1, 1, 8, tzinfo=UTC),
        "email": "x",
    }


def test_a_failure_of_the_reader_is_the_readers_own(lake: Lake, settings: Settings) -> None:
    class Broken(Exception):
        pass

    schema = pa.schema([("value", pa.int64())])

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"value": [1]}, schema)
        raise Broken

    table = one(lake, "long")
    with pytest.raises(Broken):
        table.append(pa.RecordBatchReader.from_batches(schema, batches()), run_key="a")
    assert not list((settings.state / "warehouse").rglob("*.parquet"))
