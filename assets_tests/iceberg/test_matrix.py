"""The behaviours that a catalog or a storage could break, on every catalog with every storage."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from assets_tests.iceberg.overtaking import during
from lakehouse.errors import Fenced, PublishConflict, TableMissing
from lakehouse.iceberg import Lake, LakeTable, connect, register
from lakehouse.settings import Settings
from lakehouse.tables import Table

Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]
Named = Callable[[Table], Table]


@pytest.fixture
def lake(everywhere: Settings) -> Lake:
    return Lake.open(everywhere)


@pytest.fixture
def table(lake: Lake, orders: Table, named: Named) -> LakeTable:
    return lake.create(named(orders))


def test_what_is_written_is_read_by_pyiceberg_and_by_duckdb(
    lake: Lake, table: LakeTable, everywhere: Settings, rows: Rows
) -> None:
    table.append(rows([1, 2]), run_key="a", progress={"shop": {"w": 1}})
    again = table.append(rows([1, 2]), run_key="a", progress={"shop": {"w": 1}})
    replaced = table.overwrite(rows([3, 4, 5], email=["ü", None, "c"]), where=None, run_key="b")
    assert again.already_done
    assert (replaced.rows_added, replaced.rows_removed) == (3, 2)
    assert table.progress("shop") == {"w": 1}
    ours = table.scan().read_all().sort_by("order_id")
    with connect(everywhere) as duck:
        assert register(duck, lake, tables=[table.name]) >= 1
        theirs = duck.sql(f"from silver.{table.name.table} order by order_id").to_arrow_table()
    assert ours["email"].to_pylist() == ["ü", None, "c"]
    assert theirs.cast(ours.schema).equals(ours)


def test_a_branch_is_hidden_until_it_is_published(table: LakeTable, rows: Rows, ids: Ids) -> None:
    table.append(rows([1]), run_key="a", progress={"shop": {"w": 1}})
    for branch in ("run/b", "run/c"):
        table.create_branch(branch)
        table.append(rows([2]), run_key=branch, branch=branch, progress={"shop": {"w": 2}})
    assert (ids(table), ids(table, "run/b"), table.progress("shop")) == ([1], [1, 2], {"w": 1})
    table.publish("run/b")
    assert (ids(table), table.progress("shop"), table.branches()) == ([1, 2], {"w": 2}, ("run/c",))
    table.discard("run/c")
    assert (ids(table), table.branches()) == ([1, 2], ())


def test_an_overwrite_on_a_branch_is_not_published_over_a_newer_main(table: LakeTable, rows: Rows, ids: Ids) -> None:
    table.append(rows([1]), run_key="a")
    table.create_branch("run/b")
    table.overwrite(rows([2]), where=None, run_key="b", branch="run/b")
    table.append(rows([3]), run_key="c")
    with pytest.raises(PublishConflict):
        table.publish("run/b")
    assert (ids(table), ids(table, "run/b")) == ([1, 3], [2])


def test_a_zombie_is_fenced(table: LakeTable, rows: Rows, ids: Ids) -> None:
    def other() -> None:
        table.append(rows([1]), run_key="b", progress={"shop": {"w": 1}})

    with pytest.raises(Fenced):
        table.append(
            during(rows([2]), other), run_key="zombie", progress={"shop": {"w": 1}}, expected_progress={"shop": None}
        )
    assert (ids(table), table.progress("shop")) == ([1], {"w": 1})


def test_writers_of_two_branches_both_land(table: LakeTable, rows: Rows, ids: Ids) -> None:
    table.create_branch("run/a")
    table.create_branch("run/b")

    def other() -> None:
        table.append(rows([2]), run_key="b", branch="run/b")

    commit = table.append(during(rows([1]), other), run_key="a", branch="run/a")
    assert commit.retries >= 1
    assert (ids(table, "run/a"), ids(table, "run/b"), ids(table)) == ([1], [2], [])


def test_a_restore_brings_rows_and_progress_back(table: LakeTable, rows: Rows, ids: Ids) -> None:
    good = table.append(rows([1]), run_key="a", progress={"shop": {"w": 1}})
    table.append(rows([2]), run_key="b", progress={"shop": {"w": 2}})
    assert good.snapshot_id is not None
    table.restore(table.plan_restore(to=good.snapshot_id))
    assert (ids(table), table.progress("shop")) == ([1], {"w": 1})
    table.append(rows([2]), run_key="c", progress={"shop": {"w": 2}}, expected_progress={"shop": {"w": 1}})
    assert ids(table) == [1, 2]


def test_tables_and_views_come_and_go(lake: Lake, orders: Table, named: Named, rows: Rows) -> None:
    declared = named(orders)
    view, sql = declared.name.table, "select '" + "ü" * 3000 + "' as one"
    lake.views.save("gold", view, "select 1")
    lake.views.save("gold", view, sql)
    lake.create(declared).append(rows([1]), run_key="a")
    assert lake.create(declared).stats().rows == 1
    assert declared.name in lake.names()
    assert ("gold", view, sql) in lake.views.all()
    lake.views.save("gold", view, "select 2")
    assert [found for found in lake.views.all() if found[1] == view] == [("gold", view, "select 2")]
    # A table model that became a view model has left its table behind, under the same name.
    lake.views.save("silver", view, "select 3")
    assert ("silver", view, "select 3") in lake.views.all()
    lake.create(declared)
    for _ in range(2):
        lake.views.remove("gold", view)
    assert view not in {name for _, name, _ in lake.views.all()}
    lake.drop(declared.name)
    assert not lake.exists(declared.name)
    with pytest.raises(TableMissing):
        lake.table(declared.name)
