"""What a backfill would compute, as a value: its runs hold each day of each table once, and no day more."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lakehouse.orchestration.backfill_plan import Part, Plan, stretches
from lakehouse.tables import TableName, Window

SOLD, TAKINGS = TableName.parse("silver.sales"), TableName.parse("gold.takings")
FIRST = date(2026, 1, 1)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def part(name: TableName, numbers: set[int], why: str = "asked for") -> Part:
    return Part(name, {day(number): why for number in sorted(numbers)})


def plan(sold: set[int], taken: set[int]) -> Plan:
    return Plan({}, tuple(one for one in (part(SOLD, sold), part(TAKINGS, taken)) if one.days))


numbers = st.sets(st.integers(0, 12))


@given(numbers, numbers)
def test_runs_hold_each_day_of_each_table_exactly_once(sold: set[int], taken: set[int]) -> None:
    runs = plan(sold, taken).runs
    for name, wanted in ((SOLD, sold), (TAKINGS, taken)):
        days = [one for window, tables in runs if name in tables for one in window.days]
        assert days == sorted(map(day, wanted))


@given(numbers)
def test_days_without_a_gap_are_one_run(taken: set[int]) -> None:
    windows = [window for window, _ in plan(set(), taken).runs]
    assert all(later.start > earlier.end for earlier, later in pairwise(windows))


def test_tables_of_a_day_are_in_one_run_upstream_first() -> None:
    assert plan({3, 4}, {3, 4, 5, 9}).runs == (
        (Window.of_days(day(3), day(4)), (SOLD, TAKINGS)),
        (Window.of_days(day(5), day(5)), (TAKINGS,)),
        (Window.of_days(day(9), day(9)), (TAKINGS,)),
    )


def test_days_are_told_together_while_their_reason_is_the_same() -> None:
    mixed = Part(TAKINGS, {day(1): "a", day(2): "a", day(3): "b", day(5): "b", day(6): "a"})
    assert list(stretches(mixed)) == [
        (Window.of_days(day(1), day(2)), "a"),
        (Window.of_days(day(3), day(3)), "b"),
        (Window.of_days(day(5), day(5)), "b"),
        (Window.of_days(day(6), day(6)), "a"),
    ]


def test_nothing_to_do_is_told_apart_from_a_table_without_days_to_build() -> None:
    assert plan(set(), set()).nothing
    assert not Plan({SOLD: "never built"}, ()).nothing
    assert Plan({SOLD: "never built"}, ()).runs == ()
