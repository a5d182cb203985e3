"""What may become visible after a build. `decide` is pure, so every situation is made by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lakehouse.tables import TableName
from lakehouse.transform.events import Event, ModelFinished, Status, TestFinished
from lakehouse.transform.manifest import Manifest, Model, Test
from lakehouse.transform.publish import decide


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


def test_a_table_whose_rules_read_a_held_one_is_held_and_so_is_what_reads_it() -> None:
    """Its references are found beside rows that nobody will see."""
    relationship = check("in_other", "orders", "orders", "other")
    own = check("positive", "other")
    events = [ended(node, Status.SUCCESS) for node in (ORDERS, VIEW, FACTS, OTHER)]
    events += [ended(relationship, Status.PASS), ended(own, Status.FAIL, failures=1)]

    decision = decide(events, manifest(ORDERS, VIEW, FACTS, OTHER, relationship, own))

    assert decision.publish == ()
    assert decision.hold[name("silver.other")] == "test positive failed on 1 rows"
    assert decision.hold[name("silver.orders")].startswith("its rules read silver.other, which is held: test positive")
    assert "it reads staging.recent, which is held" in decision.hold[name("gold.facts")]


def test_a_warning_beside_a_held_table_holds_nothing() -> None:
    relationship = check("in_other", "orders", "orders", "other", blocking=False)
    own = check("positive", "other")
    events = [ended(ORDERS, Status.SUCCESS), ended(OTHER, Status.SUCCESS)]
    events += [ended(relationship, Status.PASS), ended(own, Status.FAIL)]

    assert decide(events, manifest(ORDERS, OTHER, relationship, own)).publish == (name("silver.orders"),)


def test_two_tables_whose_rules_read_one_another_are_held_together() -> None:
    there, back = check("in_other", "orders", "orders", "other"), check("in_orders", "other", "other", "orders")
    events = [ended(ORDERS, Status.SUCCESS), ended(OTHER, Status.SUCCESS), ended(there, Status.PASS)]

    good = decide([*events, ended(back, Status.PASS)], manifest(ORDERS, OTHER, there, back))
    bad = decide([*events, ended(back, Status.FAIL)], manifest(ORDERS, OTHER, there, back))

    assert set(good.publish) == {name("silver.orders"), name("silver.other")}
    assert set(bad.hold) == {name("silver.orders"), name("silver.other")}


def test_one_broken_rule_of_several_audits_is_enough() -> None:
    other = check("references", "orders")
    for statuses in ((Status.FAIL, Status.PASS), (Status.PASS, Status.FAIL)):
        events = [ended(ORDERS, Status.SUCCESS), *map(ended, (UNIQUE, other), statuses)]

        assert set(decide(events, manifest(ORDERS, UNIQUE, other)).hold) == {name("silver.orders")}


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
