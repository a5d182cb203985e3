"""Partitions and the sort order follow the contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.contracts_changed import read_twice, with_columns, without
from lakehouse.errors import SchemaMismatch
from lakehouse.iceberg import Lake
from lakehouse.tables import Column, PartitionField, Table, TableName, Window

Rows = Callable[..., pa.Table]
Foreign = Callable[[TableName], IcebergTable]
Ids = Callable[..., list[int]]
D1, D2 = date(2026, 1, 1), date(2026, 1, 2)


def test_a_column_that_files_were_partitioned_by_is_not_dropped(lake: Lake, orders: Table, rows: Rows) -> None:
    # DuckDB ends the process over a spec whose column is gone, also over one that is used no more.
    partitioned = replace(orders, partition_by=(PartitionField("email", "bucket[4]"),))
    lake.create(partitioned).append(rows([1]), run_key="a")
    lake.create(orders)
    with pytest.raises(SchemaMismatch, match="email"):
        lake.create(replace(without(orders, "email"), drop=frozenset({"email"})))


def test_partitions_follow_the_contract_and_old_files_stay(
    lake: Lake, orders: Table, rows: Rows, foreign: Foreign, duck: duckdb.DuckDBPyConnection
) -> None:
    lake.create(orders).append(rows([1, 2], D1), run_key="a")
    table = lake.create(replace(orders, partition_by=(PartitionField("order_id", "bucket[4]"),)))
    table.append(rows([3, 4], D2), run_key="b")
    table = lake.create(replace(orders, partition_by=(PartitionField("email", "truncate[2]"),)))
    table.append(rows([5], D2), run_key="c")
    assert [field.name for field in foreign(orders.name).spec().fields] == ["order_date_day", "email_trunc_2"]
    assert read_twice(table, duck)["order_id"].to_pylist() == [1, 2, 3, 4, 5]
    assert len({task.file.spec_id for task in foreign(orders.name).scan().plan_files()}) == 3
    assert table.scan(where="order_id = 3").read_all().num_rows == 1
    # Windows hold for files of every spec.
    table.overwrite(rows([6], D2), where=Window.of_days(D2, D2), run_key="d")
    assert read_twice(table, duck)["order_id"].to_pylist() == [1, 2, 6]
    # Back to a spec that was there: it is used again.
    lake.create(orders)
    assert foreign(orders.name).spec().spec_id == 0


def test_a_table_becomes_windowed_and_its_old_files_know_their_days(
    lake: Lake, orders: Table, rows: Rows, ids: Ids, duck: duckdb.DuckDBPyConnection
) -> None:
    plain = replace(orders, window_column=None, window_start=None)
    for number in (1, 2):
        lake.create(plain).append(rows([number], date(2026, 1, number)), run_key=str(number))
    table = lake.create(orders)
    table.append(rows([3, 4], D2), run_key="3")
    table.delete(Window.of_days(D2, D2), run_key="4")
    assert ids(table) == [1]
    assert table.changed_days(0).days == (D1, D2)
    assert read_twice(table, duck).num_rows == 1


def test_the_sort_order_follows_the_contract(lake: Lake, flat: Table, rows: Rows, foreign: Foreign) -> None:
    def sorted_by() -> list[int]:
        return [field.source_id for field in foreign(flat.name).sort_order().fields]

    lake.create(flat)
    for names, expected in ((("amount", "order_id"), [3, 1]), (("order_id",), [1]), ((), []), (("order_id",), [1])):
        table = lake.create(replace(flat, sort_by=names))
        assert sorted_by() == expected, names
    table.append(rows([3, 1, 2]), run_key="a")
    assert table.scan().read_all()["order_id"].to_pylist() == [1, 2, 3]


def test_a_column_may_not_take_the_name_of_a_partition(lake: Lake, orders: Table) -> None:
    lake.create(orders)
    with pytest.raises(SchemaMismatch, match="partition field"):
        lake.create(with_columns(orders, Column("order_date_day", "int")))
