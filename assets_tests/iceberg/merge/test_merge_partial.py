"""Rows with some of the columns: the others keep their values exactly, whatever DuckDB would make of them."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.foreign_deletes import hide
from assets_tests.iceberg.merge.twin import Twin, rows
from lakehouse.errors import SchemaMismatch
from lakehouse.iceberg import Lake, Way
from lakehouse.tables import Column, Layer, Table, TableName

ALL = Table(
    name=TableName(Layer.SILVER, "all_types"),
    domain="shop",
    description="A column of each type",
    columns=(
        Column("id", "long", required=True),
        Column("touched", "int"),
        Column("ratio", "double"),
        Column("half", "float"),
        Column("amount", "decimal(38, 9)"),
        Column("day", "date"),
        Column("at", "timestamptz"),
        Column("naive", "timestamp"),
        Column("clock", "time"),
        Column("code", "uuid"),
        Column("raw", "binary"),
        Column("mark", "fixed[3]"),
        Column("open", "boolean"),
        Column("Name", "string"),
        Column("name", "string"),
    ),
    file=Path("all_types.yaml"),
)
EXTREMES = {
    "id": [1, 2, 3, 4],
    "touched": [0, 0, 0, 0],
    "ratio": [-0.0, math.nan, math.inf, 5e-324],
    "half": [-0.0, math.nan, -math.inf, 1.5],
    "amount": [Decimal("-99999999999999999999999999999.999999999"), None, Decimal(0), Decimal("0.000000001")],
    "day": [date.min, date.max, date(1969, 12, 31), None],
    "at": [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), None, datetime(1969, 1, 1, tzinfo=UTC)],
    "naive": [datetime.min, datetime.max, None, datetime(1969, 1, 1, 0, 0, 0, 1)],  # noqa: DTZ001, DTZ901  (of no zone)
    "clock": [time.min, time.max, None, time(1)],
    "code": [UUID(int=0).bytes, UUID(int=2**128 - 1).bytes, None, UUID(int=2**127).bytes],
    "raw": [b"", b"\0\xff", None, b"x"],
    "mark": [b"\0\0\0", b"\xff\xff\xff", None, b"abc"],
    "open": [True, False, None, True],
    "Name": ["", "Ä\0b", None, "x" * 100],
    "name": ["lower", None, "", "y"],
}


def bits(table: pa.Table) -> list[tuple[object, ...]]:
    """The rows by id, floats by their bits."""
    found = table.sort_by("id").to_pylist()
    return [
        tuple(struct.pack("d", value) if isinstance(value, float) else value for value in row.values()) for row in found
    ]


@pytest.fixture(params=Way, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param  # type: ignore[no-any-return]  # pytest does not know


def test_values_that_stay_are_the_very_same(lake: Lake, duck: duckdb.DuckDBPyConnection, way: Way) -> None:
    """Signed zero, infinities, the first and the last day, NUL in a text, names that differ in case only."""
    table = lake.create(ALL)
    table.append(pa.table(EXTREMES, schema=table.schema()), run_key="a")
    commit = table.merge(
        pa.table({"id": [3, 1, 2], "touched": [3, 1, 2]}), key=["id"], connection=duck, way=way, run_key="b"
    )
    assert (commit.rows_added, commit.rows_removed) == (3, 3)
    expected = pa.table({**EXTREMES, "touched": [1, 2, 3, 0]}, schema=table.schema())
    assert bits(table.scan().read_all()) == bits(expected)


@pytest.fixture
def twin(twins: Callable[..., Twin]) -> Twin:
    made = twins("by day")
    for day in (1, 2):
        made.append(rows(*((4 * day - 3 + number, day, f"old {number}", 10 * day) for number in range(4))))
    return made


def test_a_new_key_has_null_in_columns_that_did_not_come(twin: Twin, way: Way) -> None:
    given = pa.table({"id": [2, 9, 6], "name": ["a", "b", "c"]})
    twin.merge(given, way=way)
    assert not twin.differs()


def test_rows_that_are_moved_and_versions_that_are_compared(twin: Twin, way: Way) -> None:
    """The day alone changes: the rest of the row moves along to the other partition."""
    twin.merge(pa.table({"id": [2, 6], "day": [date(2026, 1, 5)] * 2}), way=way)
    assert not twin.differs()
    given = pa.table({"version": [5, 25, 30], "id": [1, 5, 40], "gone": [False, False, True]})
    twin.merge(given, sequence="version", deleted="gone", way=way)
    assert not twin.differs()


def test_of_a_doubled_key_the_newest_row_is_completed(twin: Twin, way: Way) -> None:
    twin.append(rows((1, 3, "newest", 30), (1, 1, "middle", 20)))
    twin.merge(pa.table({"id": [1], "version": [31]}), sequence="version", way=way)
    assert not twin.differs()
    assert (1, date(2026, 1, 3), "newest", Decimal(15), 31) in twin.rows()


def test_hidden_rows_are_not_what_is_completed(twin: Twin, way: Way, stock: Callable[[Twin], IcebergTable]) -> None:
    """Positions count them, and they shift nothing."""
    path = next(file.path for file in twin.table.live_files() if "01-01" in file.partition)
    hide(stock(twin), 0, of=path)
    twin.follow()
    twin.merge(pa.table({"id": [1, 2, 3], "name": ["a", "b", "c"]}), way=way)
    assert not twin.differs()


def test_a_new_key_without_a_required_column_is_refused(
    lake: Lake, duck: duckdb.DuckDBPyConnection, orders: Table, rows: Callable[..., pa.Table]
) -> None:
    """Named are the column and a key; with keys that are all there, the same columns do."""
    table = lake.create(orders)
    table.append(rows([1, 2]), run_key="a")
    for ids in ([1, 3], [3]):
        given = pa.table({"order_id": ids, "email": [None] * len(ids)})
        with pytest.raises(SchemaMismatch, match=r"order_date.*order_id=3"):
            table.merge(given, key=["order_id"], connection=duck, run_key="b")
    table.merge(pa.table({"order_id": [2], "email": ["x"]}), key=["order_id"], connection=duck, run_key="b")
    assert table.scan().read_all().sort_by("order_id")["email"].to_pylist() == ["1@example.com", "x"]


def test_null_in_a_required_column_is_refused_unless_the_row_deletes(
    lake: Lake, duck: duckdb.DuckDBPyConnection, orders: Table, rows: Callable[..., pa.Table]
) -> None:
    table = lake.create(orders)
    table.append(rows([1, 2]), run_key="a")
    given = {"order_id": [1], "order_date": pa.nulls(1, pa.date32())}
    with pytest.raises(SchemaMismatch, match="1 NULL in order_date"):
        table.merge(pa.table(given), key=["order_id"], connection=duck, run_key="b")
    gone = pa.table({**given, "gone": [True]})
    assert table.merge(gone, key=["order_id"], deleted="gone", connection=duck, run_key="b").rows_removed == 1


def test_a_column_that_was_added_or_retired_keeps_its_values(
    lake: Lake, duck: duckdb.DuckDBPyConnection, twin: Twin, way: Way
) -> None:
    """An old file has none of a new column; the contract's rows have none of a retired one."""
    declared = twin.declared
    grown = replace(declared, columns=(*declared.columns, Column("colour", "string")))
    table = lake.create(grown)
    table.merge(pa.table({"id": [1, 9], "colour": ["red", "blue"]}), key=["id"], connection=duck, way=way, run_key="x")
    lake.create(replace(declared, columns=declared.columns[:-1]))
    table.merge(pa.table({"id": [1, 2], "name": ["a", "b"]}), key=["id"], connection=duck, way=way, run_key="y")
    found = {row["id"]: (row["name"], row["colour"], row["version"]) for row in table.scan().read_all().to_pylist()}
    assert (found[1], found[2], found[9]) == (("a", "red", 10), ("b", None, 10), (None, "blue", None))
