"""Rows that delete files hide are gone after compaction, and so are the delete files; nothing else is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table as IcebergTable

from lakehouse.iceberg import CHANGE, Compaction, Lake, LakeTable
from lakehouse.settings import Settings
from lakehouse.tables import Table

Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]
Hide = Callable[[str, int], None]
D1, D2 = date(2026, 1, 1), date(2026, 1, 2)


@pytest.fixture(params=["by DuckDB", "by our writer"])
def declared(request: pytest.FixtureRequest, orders: Table) -> Table:
    """silver.orders as either encoder writes it."""
    columns = tuple(column for column in orders.columns if not column.personal)
    return replace(orders, columns=columns, sort_by=() if request.param == "by DuckDB" else ("order_id",))


@pytest.fixture
def table(lake: Lake, declared: Table, rows: Rows) -> LakeTable:
    """Two files of one day: orders 1 to 4 and 5 to 8; and one of the next, 11 to 14."""
    made = lake.create(declared)
    for first, day in ((1, D1), (5, D1), (11, D2)):
        made.append(rows(range(first, first + 4), day).drop_columns("email"), run_key=f"{first}")
    return made


@pytest.fixture
def stock(settings: Settings, declared: Table) -> Iterator[Callable[[], IcebergTable]]:
    uri = settings.catalog.uri.get_secret_value()
    catalog = SqlCatalog(settings.catalog.name, uri=uri, warehouse=settings.warehouse)
    yield lambda: catalog.load_table(declared.name.key)
    catalog.engine.dispose()


@pytest.fixture
def hide_at(stock: Callable[[], IcebergTable], hide: Callable[..., None]) -> Hide:
    """hide_at(path, position): another program deletes that row of a file."""
    return lambda path, position: hide(stock(), position, of=path)


def paths(table: LakeTable, day: date = D1) -> list[str]:
    """The day's files, the oldest first."""
    found = sorted(table.live_files(), key=lambda file: (file.sequence, file.path))
    return [file.path for file in found if str(day) in file.partition]


def compact(table: LakeTable, duck: duckdb.DuckDBPyConnection, *groups: list[str]) -> Compaction:
    return table.compact(groups, connection=duck)


def delete_files(stock: Callable[[], IcebergTable]) -> int:
    return len(stock().inspect.delete_files())


def test_hidden_rows_are_not_written_anew(
    table: LakeTable, duck: duckdb.DuckDBPyConnection, stock: Callable[[], IcebergTable], hide_at: Hide, ids: Ids
) -> None:
    """Positions count from each file's own first row; two delete files may name the same row."""
    first, second = paths(table)
    for position in (0, 3, 3):
        hide_at(first, position)
    hide_at(second, 1)
    hide_at(paths(table, D2)[0], 2)
    before = ids(table)
    assert before == [2, 3, 5, 7, 8, 11, 12, 14]
    assert delete_files(stock) == 5
    done = compact(table, duck, [first, second])
    assert (done.files_before, done.files_after, done.rows) == (2, 1, 5)
    assert ids(table) == before
    # The delete file on the other day stays, and hides what it hid.
    assert delete_files(stock) == 1
    assert [(file.rows, file.delete_files) for file in table.live_files() if str(D1) in file.partition] == [(5, 0)]
    assert stock().scan().to_arrow().num_rows == 8
    assert duck.sql(f"select count(*) from {table.relation_sql()}").fetchall() == [(8,)]


def test_a_position_behind_the_end_hides_nothing(
    table: LakeTable, duck: duckdb.DuckDBPyConnection, hide_at: Hide, ids: Ids
) -> None:
    first, second = paths(table)
    hide_at(first, 99)
    done = compact(table, duck, [first, second])
    assert (done.rows, ids(table)) == (8, [*range(1, 9), *range(11, 15)])


def test_files_of_which_no_row_is_left_become_none(
    table: LakeTable, duck: duckdb.DuckDBPyConnection, stock: Callable[[], IcebergTable], hide_at: Hide, ids: Ids
) -> None:
    first, second = paths(table)
    for position in range(4):
        hide_at(first, position)
    done = compact(table, duck, [first])
    assert (done.groups, done.files_before, done.files_after, done.rows) == (1, 1, 0, 0)
    assert paths(table) == [second]
    assert (ids(table), delete_files(stock)) == ([5, 6, 7, 8, 11, 12, 13, 14], 0)


def test_the_day_of_a_delete_stays_changed_for_who_has_not_seen_it(
    table: LakeTable, duck: duckdb.DuckDBPyConnection, hide_at: Hide, rows: Rows
) -> None:
    """The delete files go with the files: then nothing but the age of the new one tells of the deletes."""
    start = table.snapshots()[0]
    hide_at(paths(table)[0], 1)
    hidden = table.snapshots()[0]
    table.append(rows([15], D2).drop_columns("email"), run_key="15")
    compact(table, duck, paths(table))
    assert table.changed_days(start.sequence_number).days == (D1, D2)
    assert table.changed_days(hidden.sequence_number).days == (D2,)
    with table.changes(start.id, key=("order_id",)) as changes:
        read = changes.rows().read_all()
    found = sorted(zip(read[CHANGE].to_pylist(), read["order_id"].to_pylist(), strict=True))
    assert found == [("delete", 2), ("insert", 15)]


def test_a_later_delete_hides_rows_of_the_packed_file(
    table: LakeTable, duck: duckdb.DuckDBPyConnection, hide_at: Hide, ids: Ids
) -> None:
    hide_at(paths(table)[0], 0)
    compact(table, duck, paths(table))
    (packed,) = paths(table)
    before = ids(table)
    hide_at(packed, 0)
    (gone,) = set(before) - set(ids(table))
    assert gone in range(2, 9)
    compact(table, duck, [packed])
    assert ids(table) == [number for number in before if number != gone]


def test_files_under_equality_deletes_are_left_to_who_wrote_them(
    table: LakeTable,
    duck: duckdb.DuckDBPyConnection,
    stock: Callable[[], IcebergTable],
    hide: Callable[..., None],
) -> None:
    """Refused by a sentence, which is no error: the other groups are packed."""
    hide(stock(), 12, of=paths(table, D2)[0], by_value=True)
    done = compact(table, duck, paths(table), paths(table, D2))
    assert (done.groups, done.overtaken, len(done.refused)) == (1, 0, 1)
    assert "equality deletes" in done.refused[0]
    assert paths(table, D2)[0] in done.refused[0]
    left = duck.sql(f"select order_id from {table.relation_sql()} order by 1").fetchall()
    assert [number for (number,) in left] == [*range(1, 9), 11, 13, 14]


def test_a_group_is_as_old_as_its_own_deletes(table: LakeTable, duck: duckdb.DuckDBPyConnection, hide_at: Hide) -> None:
    hide_at(paths(table, D2)[0], 0)
    compact(table, duck, paths(table), paths(table, D2))
    assert {file.partition[-2:]: file.sequence for file in table.live_files()} == {"01": 2, "02": 4}
