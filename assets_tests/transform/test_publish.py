"""Publishing what was built: a child only together with the states that it read. Real tables."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from lakehouse.errors import PublishConflict
from lakehouse.iceberg import Lake, connect, read_by, register
from lakehouse.settings import Settings
from lakehouse.tables import Column, Table, TableName
from lakehouse.transform.publish import publish_models
from lakehouse.transform.write import save_view, write_model

BRANCH = "run/1"


def numbers(label: str) -> Table:
    return Table(TableName.parse(label), "test", "", (Column("n", "long"),), Path(f"{label}.yaml"))


PARENT, CHILD, LEAF = numbers("silver.parent"), numbers("gold.child"), numbers("gold.leaf")


class Build:
    """A connection as dbt's plugin keeps it: what is written is registered again, so that what follows reads it."""

    def __init__(self, settings: Settings, lake: Lake) -> None:
        self.lake = lake
        self.duck: duckdb.DuckDBPyConnection = connect(settings)
        register(self.duck, lake, at=BRANCH)

    def write(self, table: Table, sql: str, branch: str = BRANCH, key: str = "1") -> int:
        commit = write_model(self.lake, self.duck, table, sql, window=None, branch=branch, run_key=key)
        register(self.duck, self.lake, at=branch, tables=[table.name])
        assert commit.snapshot_id is not None
        return commit.snapshot_id

    def values(self, table: Table) -> list[int]:
        return sorted(self.lake.table(table.name).scan().read_all()["n"].to_pylist())


@pytest.fixture
def run(settings: Settings, lake: Lake) -> Build:
    """Parent, child and leaf on main: 1, 10 and 100."""
    first = Build(settings, lake)
    first.write(PARENT, "select 1 as n", "main", "0")
    first.write(CHILD, "select n * 10 as n from silver.parent", "main", "0")
    first.write(LEAF, "select n * 10 as n from gold.child", "main", "0")
    return Build(settings, lake)


def test_a_model_names_the_snapshots_that_it_read(run: Build) -> None:
    lake = run.lake
    before = lake.table(PARENT.name).snapshots()[0].id
    assert read_by(lake, CHILD.name) == {PARENT.name: before}
    assert read_by(lake, PARENT.name) == {}
    parent = run.write(PARENT, "select 2 as n")
    run.write(CHILD, "with p as (select * from silver.parent) select p.n from p join gold.leaf l on l.n > p.n")
    leaf = lake.table(LEAF.name).snapshots()[0].id
    assert read_by(lake, CHILD.name, BRANCH) == {PARENT.name: parent, LEAF.name: leaf}
    assert read_by(lake, CHILD.name) == {PARENT.name: before}


def test_views_are_followed_to_the_tables_below_them(run: Build) -> None:
    save_view(run.lake, run.duck, "staging", "below", "select n from silver.parent")
    save_view(run.lake, run.duck, "staging", "above", "select n from staging.below where n > 0")
    run.write(CHILD, 'select n from "memory"."staging"."above"')
    assert read_by(run.lake, CHILD.name, BRANCH) == {PARENT.name: run.lake.table(PARENT.name).snapshots()[0].id}


def test_a_pin_holds_whatever_happens_to_the_table_meanwhile(run: Build, settings: Settings) -> None:
    before = run.lake.table(PARENT.name).snapshots()[0].id
    Build(settings, run.lake).write(PARENT, "select 5 as n", "main", "late")
    run.write(CHILD, "select n from silver.parent")
    assert read_by(run.lake, CHILD.name, BRANCH) == {PARENT.name: before}
    assert run.lake.table(CHILD.name).scan(at=BRANCH).read_all()["n"].to_pylist() == [1]


def test_sql_that_duckdb_cannot_write_as_a_tree_is_read_too(run: Build) -> None:
    run.write(CHILD, "select a as n from (pivot (select n, 'a' as k from silver.parent) on k using sum(n))")
    assert set(read_by(run.lake, CHILD.name, BRANCH)) == {PARENT.name}


def test_a_chain_is_published_as_it_was_computed(run: Build) -> None:
    run.write(PARENT, "select 2 as n")
    run.write(CHILD, "select n * 10 as n from silver.parent")
    run.write(LEAF, "select n * 10 as n from gold.child")
    done = publish_models(run.lake, [PARENT.name, CHILD.name, LEAF.name], BRANCH, {})
    assert not done.conflicts
    assert [run.values(table) for table in (PARENT, CHILD, LEAF)] == [[2], [20], [200]]


def test_a_parent_whose_main_moved_keeps_its_children_back(run: Build, settings: Settings) -> None:
    run.write(PARENT, "select 2 as n")
    run.write(CHILD, "select n * 10 as n from silver.parent")
    run.write(LEAF, "select 7 as n")
    Build(settings, run.lake).write(PARENT, "select 5 as n", "main", "other")

    done = publish_models(run.lake, [PARENT.name, CHILD.name, LEAF.name], BRANCH, {})

    assert set(done.conflicts) == {PARENT.name, CHILD.name}
    assert "silver.parent" in str(done.conflicts[CHILD.name])
    assert [run.values(table) for table in (PARENT, CHILD, LEAF)] == [[5], [10], [7]]
    assert run.lake.table(CHILD.name).branches() == (BRANCH,)


def test_a_parent_published_as_another_snapshot_keeps_its_children_back(run: Build) -> None:
    run.write(PARENT, "select 2 as n")
    run.write(CHILD, "select n * 10 as n from silver.parent")
    run.write(PARENT, "select 3 as n", key="2")  # written again after the child had read it
    done = publish_models(run.lake, [PARENT.name, CHILD.name], BRANCH, {})
    assert isinstance(done.conflicts[CHILD.name], PublishConflict)
    assert [run.values(table) for table in (PARENT, CHILD)] == [[3], [10]]


def test_a_child_of_another_build_is_not_held_by_what_its_parent_does(run: Build, settings: Settings) -> None:
    run.write(CHILD, "select n * 10 as n from silver.parent")
    Build(settings, run.lake).write(PARENT, "select 5 as n", "main", "other")
    assert not publish_models(run.lake, [CHILD.name], BRANCH, {}).conflicts


def test_publishing_again_what_is_published_is_no_conflict(run: Build, settings: Settings) -> None:
    """A step that is tried again after its publish finds its run keys on main."""
    for _ in range(2):
        again = Build(settings, run.lake)
        again.write(PARENT, "select 2 as n")
        again.write(CHILD, "select n * 10 as n from silver.parent")
        done = publish_models(run.lake, [PARENT.name, CHILD.name], BRANCH, {})
        assert not done.conflicts
    assert [run.values(table) for table in (PARENT, CHILD)] == [[2], [20]]
