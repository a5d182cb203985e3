"""What is asked for of all that is out of date, over drawn graphs and drawn histories. Nothing but values here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lakehouse.orchestration.asked import PATIENCE, Ask, Asked, Target
from lakehouse.orchestration.questions import questions
from lakehouse.tables import Layer, TableName

START = date(2026, 1, 1)
NAMES = [TableName(Layer.SILVER, f"t{number}") for number in range(6)]
DAILY = frozenset(NAMES[::2])


@dataclass
class Runs:
    """Answers as they are drawn."""

    broken: set[Target] = field(default_factory=set)
    seen: set[Target] = field(default_factory=set)

    def tried(self, target: Target) -> bool:
        return target in self.seen

    def settled(self, target: Target, since: float) -> bool:
        assert since > 0
        return target in self.broken


targets = st.one_of(
    *(
        st.tuples(st.just(name), st.dates(START, START + timedelta(days=40)) if name in DAILY else st.none())
        for name in NAMES
    )
)
asks = st.builds(Ask, st.sampled_from("ab"), st.integers(1, 900).map(float), st.integers(1, 2))
graphs = st.fixed_dictionaries(
    {
        name: st.frozensets(st.sampled_from(NAMES[:number])) if number else st.just(frozenset())
        for number, name in enumerate(NAMES)
    }
)
Graph = Mapping[TableName, frozenset[TableName]]


def above(graph: Graph, name: TableName) -> frozenset[TableName]:
    return graph[name].union(*(above(graph, parent) for parent in graph[name]))


@given(st.dictionaries(targets, asks), st.none() | st.floats(0, 1e9))
def test_a_cursor_says_what_was_asked(before: dict[Target, Ask], waiting: float | None) -> None:
    asked = Asked(before, waiting, {"any": ["memory"]})
    assert Asked.read(asked.text()) == asked


def test_days_that_were_asked_for_together_are_one_entry() -> None:
    year = {(NAMES[0], START + timedelta(days=number)): Ask("a", 1.0) for number in range(365)}
    assert len(Asked(year).text()) < 150


@given(st.data(), graphs)
def test_what_is_asked_is_out_of_date_free_and_was_not_asked_before(data: st.DataObject, graph: Graph) -> None:
    changes = data.draw(st.dictionaries(targets, st.sampled_from("ab"), max_size=12))
    before = Asked(data.draw(st.dictionaries(targets, asks, max_size=12)))
    busy = data.draw(st.frozensets(st.sampled_from(NAMES)))
    found = questions(changes, before, Runs(), above=lambda n: above(graph, n), busy=busy, now=1000.0, most=5)
    chosen = {(name, None) for name in found.models} | {
        (name, day) for name, days in found.days.items() for day in days
    }
    assert chosen <= set(changes)
    assert not {name for name, _ in chosen} & busy
    assert sum(map(len, found.days.values())) <= 5
    for target in chosen:
        last = before.asks.get(target)
        assert last is None or last.change != changes[target] or 1000.0 - last.at >= PATIENCE
        assert found.asked[target].at == 1000.0
    # Nothing waits for itself: of tables that wait for one another, days come after tables without.
    for name in found.days:
        assert not above(graph, name) & found.models
    # What is not asked now is remembered as it was, and what follows its inputs is forgotten.
    assert set(found.asked) <= set(changes)
    for target in set(changes) - chosen:
        if target in before.asks and before.asks[target].change == changes[target]:
            assert found.asked[target] == before.asks[target]


@given(st.data(), graphs)
def test_every_change_is_asked_for_once_when_runs_answer(data: st.DataObject, graph: Graph) -> None:
    """Whatever is asked for fails or works; in the end everything was asked for exactly once."""
    changes = data.draw(st.dictionaries(targets, st.just("a"), max_size=12))
    fails = data.draw(st.sets(st.sampled_from(sorted(changes, key=str)))) if changes else set()
    runs, asked, counted, now = Runs(), Asked(), dict.fromkeys(changes, 0), 1000.0
    left = dict(changes)
    for _ in range(20):
        now += 5
        found = questions(left, asked, runs, above=lambda n: above(graph, n), busy=frozenset(), now=now, most=3)
        asked = Asked(found.asked)
        chosen = [(name, None) for name in found.models]
        chosen += [(name, day) for name, days in found.days.items() for day in days]
        for target in chosen:
            counted[target] += 1
            if target in fails:
                runs.broken.add(target)
            else:
                del left[target]
    assert set(left) == fails
    assert counted == dict.fromkeys(changes, 1)


@given(st.sampled_from(NAMES).filter(lambda name: name in DAILY), st.integers(1, 6))
def test_what_no_run_takes_up_is_asked_for_twice_at_most(name: TableName, ticks: int) -> None:
    asked, now, count, target = Asked(), 1000.0, 0, (name, START)
    for _ in range(ticks):
        found = questions({target: "a"}, asked, Runs(), above=lambda _: frozenset(), busy=frozenset(), now=now, most=5)
        asked, now, count = Asked(found.asked), now + PATIENCE, count + bool(found.days)
    assert count == min(ticks, 2)


def test_what_the_run_that_made_the_change_tried_itself_is_not_asked_for() -> None:
    target = (NAMES[0], START)
    found = questions(
        {target: "a"}, Asked(), Runs(seen={target}), above=lambda _: frozenset(), busy=frozenset(), now=1000.0, most=5
    )
    assert not found.days
    later = questions(
        {target: "a"}, Asked(found.asked), Runs(), above=lambda _: frozenset(), busy=frozenset(), now=9000.0, most=5
    )
    assert not later.days


def test_the_newest_days_come_first() -> None:
    days = {(NAMES[0], START + timedelta(days=number)): "a" for number in range(10)}
    found = questions(days, Asked(), Runs(), above=lambda _: frozenset(), busy=frozenset(), now=1000.0, most=3)
    assert found.days == {NAMES[0]: tuple(START + timedelta(days=number) for number in (7, 8, 9))}
    assert set(found.asked) == {(NAMES[0], day) for day in found.days[NAMES[0]]}
