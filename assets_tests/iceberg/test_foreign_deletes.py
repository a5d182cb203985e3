"""Rows that another program hides by delete files (merge-on-read): scans leave them out, changes tell of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import QueryError
from lakehouse.iceberg import CHANGE, Lake, LakeTable
from lakehouse.settings import Settings
from lakehouse.tables import Table

Rows = Callable[..., pa.Table]
Stock = Callable[[], IcebergTable]
Hide = Callable[..., None]
KEY = ("order_id",)
D1, D2 = date(2026, 1, 1), date(2026, 1, 2)


@pytest.fixture
def table(lake: Lake, orders: Table, rows: Rows) -> LakeTable:
    """Orders 1, 2 and 3 in one file."""
    table = lake.create(orders)
    table.append(rows([1, 2, 3], D1), run_key="1")
    return table


@pytest.fixture
def stock(settings: Settings, orders: Table) -> Iterator[Stock]:
    """The table as plain PyIceberg opens it."""
    uri = settings.catalog.uri.get_secret_value()
    catalog = SqlCatalog(settings.catalog.name, uri=uri, warehouse=settings.warehouse)
    yield lambda: catalog.load_table(orders.name.key)
    catalog.engine.dispose()


def changed(table: LakeTable, since: int) -> list[tuple[str, int]]:
    with table.changes(since, key=KEY) as changes:
        read = changes.rows().read_all()
    return list(zip(read[CHANGE].to_pylist(), read["order_id"].to_pylist(), strict=True))


def test_hidden_rows_are_not_read_and_were_deleted(
    table: LakeTable, stock: Stock, duck: duckdb.DuckDBPyConnection, hide: Hide
) -> None:
    since = table.snapshots()[0]
    hide(stock(), 1)
    scanned = table.scan().read_all().sort_by("order_id")
    asked = duck.sql(f"from {table.relation_sql()} order by order_id").to_arrow_table()
    assert scanned["order_id"].to_pylist() == [1, 3]
    assert asked.cast(scanned.schema).equals(scanned)
    # Positions count the rows of the file, not those that a filter chose.
    assert table.scan(where="order_id >= 2").read_all()["order_id"].to_pylist() == [3]
    assert changed(table, since.id) == [("delete", 2)]
    assert table.changed_days(since.sequence_number).days == (D1,)


def test_a_file_with_the_same_deletes_on_both_sides_did_not_change(
    table: LakeTable, rows: Rows, stock: Stock, hide: Hide
) -> None:
    hide(stock(), 0)
    since = table.snapshots()[0].id
    table.append(rows([4], D2), run_key="2")
    table.delete("order_id = 4", run_key="3")
    assert changed(table, since) == []


def test_compaction_after_deletes_shows_the_deletes_only(
    table: LakeTable, rows: Rows, stock: Stock, hide: Hide
) -> None:
    since = table.snapshots()[0].id
    hide(stock(), 0)
    deleted = table.snapshots()[0].id
    table.replace_files([task.file.file_path for task in stock().scan().plan_files()], rows([3, 2], D1), run_key="2")
    assert changed(table, since) == [("delete", 1)]
    assert changed(table, deleted) == []


def test_a_day_of_which_rows_were_only_deleted_stays_changed_after_compaction(
    table: LakeTable, rows: Rows, stock: Stock, hide: Hide
) -> None:
    """The delete files go with the files: then nothing but the age of the new ones tells of the deletes."""
    before = table.snapshots()[0].sequence_number
    first = [task.file.file_path for task in stock().scan().plan_files()]
    table.append(rows([7], D2), run_key="2")
    hide(stock(), 0, of=first[0])
    hidden = table.snapshots()[0].sequence_number
    table.append(rows([8], D2), run_key="3")
    table.replace_files(first, rows([3, 2], D1), run_key="4")
    assert not stock().inspect.delete_files().to_pylist()
    assert table.changed_days(before).days == (D1, D2)
    assert table.changed_days(hidden).days == (D2,)


def test_equality_deletes_are_refused_with_the_way_out(
    table: LakeTable, stock: Stock, duck: duckdb.DuckDBPyConnection, hide: Hide
) -> None:
    since = table.snapshots()[0].id
    hide(stock(), 2, by_value=True)
    for read in (table.scan, lambda: table.scan(limit=1, where="order_id = 1"), lambda: table.changes(since)):
        with pytest.raises(QueryError, match="equality deletes") as caught:
            read()
        assert "lakehouse query" in caught.value.remedy
    assert duck.sql(f"select order_id from {table.relation_sql()} order by 1").fetchall() == [(1,), (3,)]
    assert table.changed_days(1).days == (D1,)
