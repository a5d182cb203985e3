"""What becomes visible after a build. `decide` is pure, so every situation is made by hand; publishing is real."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.errors import PublishConflict
from lakehouse.iceberg import Lake, connect, read_by, register
from lakehouse.settings import Settings
from lakehouse.tables import Column, Table, TableName
from lakehouse.transform.events import Event, ModelFinished, Status, TestFinished
from lakehouse.transform.manifest import Manifest, Model, Test
from lakehouse.transform.publish import decide, publish_models
from lakehouse.transform.write import save_view, write_model


def model(label: str, *parents: str, view: bool = False) -> Model:
    schema, _, name = label.partition(".")
    kind = "view" if view else "iceberg"
    return Model(f"model.{name}", schema, name, kind, f"{name}.sql", "", "", tuple(f"model.{one}" for one in parents))


def check(name: str, owner: str | None, *models: str, blocking: bool = True, unit: bool = False) -> Test:
    reads = tuple(f"model.{one}" for one in models or (owner,))
    return Test(f"test.{name}", name, owner and f"model.{owner}", reads, blocking=blocking, unit=unit)


def manifest(*nodes: Model | Test) -> Manifest:
    models = {node.unique_id: node for node in nodes if isinstance(node, Model)}
    return Manifest(models, {node.unique_id: node for node in nodes if isinstance(node, Test)})


def ended(node: Model | Test, status: Status, failures: int = 0) -> Event:
    if isinstance(node, Model):
        return ModelFinished(node.unique_id, node.label, node.table, status, 0.1)
    return TestFinished(node.unique_id, node.name, node.owner, node.models, status, 0.1, failures)


def name(text: str) -> TableName:
    return TableName.parse(text)


ORDERS, VIEW = model("silver.orders"), model("staging.recent", "orders", view=True)
FACTS, OTHER = model("gold.facts", "recent"), model("silver.other")
UNIQUE = check("unique", "orders")


def test_everything_good_is_published_parents_first() -> None:
    nodes = (FACTS, VIEW, ORDERS, OTHER, UNIQUE)
    events = [ended(node, Status.PASS if node is UNIQUE else Status.SUCCESS) for node in nodes]

    decision = decide(events, manifest(*nodes))

    assert set(decision.publish) == {name("silver.orders"), name("gold.facts"), name("silver.other")}
    assert decision.publish.index(name("silver.orders")) < decision.publish.index(name("gold.facts"))
    assert not decision.hold


def test_a_failed_test_holds_its_model_and_what_reads_it_through_views_but_nothing_else() -> None:
    nodes = (ORDERS, VIEW, FACTS, OTHER)
    events = [*(ended(node, Status.SUCCESS) for node in nodes), ended(UNIQUE, Status.FAIL, failures=3)]

    decision = decide(events, manifest(*nodes, UNIQUE))

    assert decision.publish == (name("silver.other"),)
    assert decision.hold[name("silver.orders")] == "test unique failed on 3 rows"
    assert "staging.recent" in decision.hold[name("gold.facts")]
    assert "unique failed" in decision.hold[name("gold.facts")]


def test_a_warning_holds_nothing() -> None:
    events = [ended(ORDERS, Status.SUCCESS), ended(UNIQUE, Status.WARN, failures=3)]

    assert decide(events, manifest(ORDERS, UNIQUE)).publish == (name("silver.orders"),)


def test_a_test_that_could_not_run_holds() -> None:
    events = [ended(ORDERS, Status.SUCCESS), ended(UNIQUE, Status.ERROR)]

    assert decide(events, manifest(ORDERS, UNIQUE)).hold == {name("silver.orders"): "test unique could not be run"}


def test_a_blocking_test_without_news_holds_and_a_warning_one_does_not() -> None:
    events = [ended(ORDERS, Status.SUCCESS)]

    assert decide(events, manifest(ORDERS, UNIQUE)).hold == {name("silver.orders"): "test unique did not run"}
    assert not decide(events, manifest(ORDERS, check("unique", "orders", blocking=False))).hold


def test_unit_tests_that_were_left_out_hold_nothing_but_failed_ones_do() -> None:
    unit = check("arithmetic", "orders", unit=True)

    assert not decide([ended(ORDERS, Status.SUCCESS)], manifest(ORDERS, unit)).hold
    assert decide([ended(ORDERS, Status.SUCCESS), ended(unit, Status.FAIL)], manifest(ORDERS, unit)).hold


def test_a_relationship_that_fails_is_blamed_on_the_table_that_declares_it() -> None:
    relationship = check("in_other", "orders", "orders", "other")
    events = [ended(ORDERS, Status.SUCCESS), ended(OTHER, Status.SUCCESS), ended(relationship, Status.FAIL)]

    decision = decide(events, manifest(ORDERS, OTHER, relationship))

    assert decision.publish == (name("silver.other"),)
    assert set(decision.hold) == {name("silver.orders")}


def test_a_relationship_of_a_table_that_was_not_built_is_blamed_on_what_was() -> None:
    relationship = check("in_other", "orders", "orders", "other")
    events = [ended(OTHER, Status.SUCCESS), ended(relationship, Status.FAIL)]

    assert set(decide(events, manifest(ORDERS, OTHER, relationship)).hold) == {name("silver.other")}


def test_models_that_were_not_written_are_neither_published_nor_held_and_hold_their_children() -> None:
    child = model("gold.child", "orders")
    events = [ended(ORDERS, Status.ERROR), ended(child, Status.SUCCESS), ended(OTHER, Status.SKIPPED)]

    decision = decide(events, manifest(ORDERS, child, OTHER))

    assert decision.publish == ()
    assert set(decision.hold) == {name("gold.child")}


def test_a_parent_outside_the_build_does_not_matter() -> None:
    assert decide([ended(FACTS, Status.SUCCESS)], manifest(ORDERS, VIEW, FACTS)).publish == (name("gold.facts"),)


@st.composite
def builds(draw: st.DrawFn) -> tuple[Manifest, list[Event]]:
    """A random graph of models, each with a test, and how everything ended."""
    size = draw(st.integers(1, 8))
    models: list[Model] = []
    for number in range(size):
        parents = draw(st.sets(st.sampled_from(range(number)), max_size=3)) if number else set()
        view = draw(st.booleans())
        schema = "staging" if view else draw(st.sampled_from(["silver", "gold"]))
        models.append(model(f"{schema}.m{number}", *(f"m{parent}" for parent in sorted(parents)), view=view))
    tests = [check(f"t{number}", f"m{number}") for number in range(size)]
    built = draw(st.sets(st.sampled_from(range(size)), min_size=1))
    statuses = st.sampled_from([Status.SUCCESS, Status.SUCCESS, Status.ERROR, Status.SKIPPED])
    outcomes = st.sampled_from([Status.PASS, Status.PASS, Status.WARN, Status.FAIL, Status.ERROR, Status.SKIPPED])
    events = [ended(models[number], draw(statuses)) for number in built]
    events += [ended(tests[number], draw(outcomes)) for number in built]
    return manifest(*models, *tests), draw(st.permutations(events))


@given(builds())
def test_nothing_is_published_over_anything_bad(build: tuple[Manifest, list[Event]]) -> None:
    graph, events = build
    decision = decide(events, graph)
    ran = {event.unique_id: event for event in events if event is not None}  # type: ignore[union-attr]
    written = {
        event.table
        for event in events
        if isinstance(event, ModelFinished) and event.table is not None and event.status is Status.SUCCESS
    }

    assert set(decision.publish) | set(decision.hold) == written
    assert not set(decision.publish) & set(decision.hold)
    for table in decision.publish:
        to_see = [graph.by_table[table].unique_id]
        while to_see:
            unique_id = to_see.pop()
            if unique_id in ran:
                assert ran[unique_id].status is Status.SUCCESS  # type: ignore[union-attr]
                assert ran[unique_id.replace("model.m", "test.t")].status in {Status.PASS, Status.WARN}  # type: ignore[union-attr]
                to_see += graph.models[unique_id].parents
    order = {table: position for position, table in enumerate(decision.publish)}
    for table in decision.publish:
        assert all(order[parent] < order[table] for parent in graph.parents(table) if parent in order)


# What was read, and publishing by it

BRANCH = "run/1"


def numbers(label: str) -> Table:
    return Table(name(label), "test", "", (Column("n", "long"),), Path(f"{label}.yaml"))


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
    done = publish_models(run.lake, [PARENT.name, CHILD.name, LEAF.name], BRANCH)
    assert not done.conflicts
    assert [run.values(table) for table in (PARENT, CHILD, LEAF)] == [[2], [20], [200]]


def test_a_parent_whose_main_moved_keeps_its_children_back(run: Build, settings: Settings) -> None:
    run.write(PARENT, "select 2 as n")
    run.write(CHILD, "select n * 10 as n from silver.parent")
    run.write(LEAF, "select 7 as n")
    Build(settings, run.lake).write(PARENT, "select 5 as n", "main", "other")

    done = publish_models(run.lake, [PARENT.name, CHILD.name, LEAF.name], BRANCH)

    assert set(done.conflicts) == {PARENT.name, CHILD.name}
    assert "silver.parent" in str(done.conflicts[CHILD.name])
    assert [run.values(table) for table in (PARENT, CHILD, LEAF)] == [[5], [10], [7]]
    assert run.lake.table(CHILD.name).branches() == (BRANCH,)


def test_a_parent_published_as_another_snapshot_keeps_its_children_back(run: Build) -> None:
    run.write(PARENT, "select 2 as n")
    run.write(CHILD, "select n * 10 as n from silver.parent")
    run.write(PARENT, "select 3 as n", key="2")  # written again after the child had read it
    done = publish_models(run.lake, [PARENT.name, CHILD.name], BRANCH)
    assert isinstance(done.conflicts[CHILD.name], PublishConflict)
    assert [run.values(table) for table in (PARENT, CHILD)] == [[3], [10]]


def test_a_child_of_another_build_is_not_held_by_what_its_parent_does(run: Build, settings: Settings) -> None:
    run.write(CHILD, "select n * 10 as n from silver.parent")
    Build(settings, run.lake).write(PARENT, "select 5 as n", "main", "other")
    assert not publish_models(run.lake, [CHILD.name], BRANCH).conflicts


def test_publishing_again_what_is_published_is_no_conflict(run: Build, settings: Settings) -> None:
    """A step that is tried again after its publish finds its run keys on main."""
    for _ in range(2):
        again = Build(settings, run.lake)
        again.write(PARENT, "select 2 as n")
        again.write(CHILD, "select n * 10 as n from silver.parent")
        done = publish_models(run.lake, [PARENT.name, CHILD.name], BRANCH)
        assert not done.conflicts
    assert [run.values(table) for table in (PARENT, CHILD)] == [[2], [20]]
