"""A contract that changes while others write: both are heard, or one begins again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.contracts_changed import read_twice, renamed, with_columns, without
from lakehouse.errors import SchemaMismatch
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.schemas.evolve import evolve
from lakehouse.settings import Settings
from lakehouse.tables import Column, Layer, PartitionField, Table, TableName, Window

Rows = Callable[..., pa.Table]
Foreign = Callable[[TableName], IcebergTable]
Ids = Callable[..., list[int]]
D1, D2 = date(2026, 1, 1), date(2026, 1, 2)


def test_two_processes_evolve_at_once_and_both_are_heard(
    any_lake: Lake, any_settings: Settings, orders: Table, rows: Rows
) -> None:
    any_lake.create(orders).append(rows([1]), run_key="a")
    coupon = with_columns(orders, Column("coupon", "string"))
    both = with_columns(coupon, Column("country", "string"))

    def work(number: int) -> None:
        mine = Lake.open(any_settings)
        for turn in range(4):
            if number == 0:
                mine.create(coupon if turn < 2 else both)
            else:
                _append(mine, rows([10 * number + turn]), f"{number}-{turn}")

    with ThreadPoolExecutor(3) as threads:
        for done in [threads.submit(work, number) for number in range(3)]:
            done.result()
    table = any_lake.table(orders.name)
    assert list(table.column_types())[-2:] == ["coupon", "country"]
    assert sorted(table.scan().read_all()["order_id"].to_pylist()) == [1, 10, 11, 12, 13, 20, 21, 22, 23]


def _append(lake: Lake, rows: pa.Table, run_key: str) -> None:
    """Append, and look at the columns again when one came between the look and the write."""
    for _ in range(4):
        try:
            lake.table(TableName(Layer.SILVER, "orders")).append(_full(lake, rows), run_key=run_key)
        except SchemaMismatch:
            continue
        return
    pytest.fail("only two columns come, and each may be missed once")


def _full(lake: Lake, rows: pa.Table) -> pa.Table:
    """Rows with NULL in the columns that the table has gained: another process may add one at any moment."""
    for name in lake.table(TableName(Layer.SILVER, "orders")).column_types():
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(len(rows), pa.string()))
    return rows


def during(table: LakeTable, rows: pa.Table, change: Callable[[], object]) -> None:
    """Append rows, and change the table after they were asked for and before they are committed."""

    def batches() -> Iterator[pa.RecordBatch]:
        change()
        yield from rows.to_batches()

    table.append(pa.RecordBatchReader.from_batches(rows.schema, batches()), run_key="during")


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (lambda table: with_columns(table, Column("coupon", "string")), {"coupon": None}),
        (lambda table: renamed(table, "email", "mail"), {"mail": "9@example.com"}),
        (lambda table: with_columns(table, Column("amount", "decimal(20, 2)")), {"amount": Decimal("2.25")}),
        (lambda table: replace(table, columns=tuple(reversed(table.columns))), {"email": "9@example.com"}),
        (lambda table: replace(without(table, "email"), drop=frozenset({"email"})), {"amount": Decimal("2.25")}),
    ],
)
def test_an_append_that_a_change_of_columns_overtakes_is_right(
    lake: Lake, orders: Table, rows: Rows, change: Callable[[Table], Table], shown: dict[str, object]
) -> None:
    table = lake.create(orders)
    table.append(rows([1]), run_key="a")
    during(table, rows([9]), lambda: lake.create(change(orders)))
    [row] = table.scan(where="order_id = 9").read_all().to_pylist()
    assert row.items() >= shown.items()


def test_an_append_that_a_change_of_partitions_overtakes_keeps_its_own(
    lake: Lake, orders: Table, rows: Rows, duck: duckdb.DuckDBPyConnection, ids: Ids
) -> None:
    table = lake.create(orders)
    table.append(rows([1]), run_key="a")
    other = replace(orders, partition_by=(PartitionField("order_id", "bucket[4]"),))
    during(table, rows([9], D2), lambda: lake.create(other))
    assert read_twice(table, duck)["order_id"].to_pylist() == [1, 9]
    assert table.scan(where="order_id = 9").read_all().num_rows == 1
    table.delete(Window.of_days(D2, D2), run_key="b")
    assert ids(table) == [1]


@pytest.mark.parametrize("where", ["none", "rows", "window"])
def test_a_write_that_changed_partitions_and_a_commit_overtake_keeps_its_own(
    lake: Lake, orders: Table, rows: Rows, duck: duckdb.DuckDBPyConnection, where: str
) -> None:
    """The retry builds on a head whose files lie by other fields, more of them."""
    table = lake.create(orders)
    table.append(rows([1, 2], D1), run_key="a")
    other = replace(
        orders, partition_by=(PartitionField("order_id", "bucket[4]"), PartitionField("amount", "identity"))
    )

    def batches() -> Iterator[pa.RecordBatch]:
        lake.create(other)
        table.append(rows([5], D2), run_key="b")
        yield from rows([9], D1).to_batches()

    given = pa.RecordBatchReader.from_batches(rows([]).schema, batches())
    if where == "none":
        commit = table.append(given, run_key="c")
    else:
        scope = "order_id > 5" if where == "rows" else Window.of_days(D1, D1)
        commit = table.overwrite(given, where=scope, run_key="c")
    assert commit.retries == 1
    expected = [5, 9] if where == "window" else [1, 2, 5, 9]
    assert read_twice(table, duck)["order_id"].to_pylist() == expected
    # What is written next lies by the new fields, and the older file is still found by its day.
    table.overwrite(rows([7], D1), where=Window.of_days(D1, D1), run_key="d")
    assert sorted(table.scan().read_all()["order_id"].to_pylist()) == [5, 7]


def test_an_append_that_a_required_column_overtakes_stays_readable(
    lake: Lake, orders: Table, rows: Rows, duck: duckdb.DuckDBPyConnection
) -> None:
    table = lake.create(orders)
    wanted = with_columns(orders, Column("coupon", "string", required=True))
    during(table, rows([9]), lambda: lake.create(wanted))
    assert read_twice(table, duck)["coupon"].to_pylist() == [None]


def test_of_two_changes_at_once_the_later_begins_again(lake: Lake, orders: Table, foreign: Foreign) -> None:
    lake.create(orders)
    stale = foreign(orders.name)
    lake.create(with_columns(orders, Column("country", "string")))
    with pytest.raises(CommitFailedException):
        evolve(stale, with_columns(orders, Column("coupon", "string")))
