"""The daemon is killed at the worst moments, with all that it started; after a restart nothing was missed.

What is done twice is done with the same result. The tests share one project, and each leaves it at rest.
"""

from __future__ import annotations

import time
from datetime import date
from typing import TYPE_CHECKING

import pytest

from assets_tests.live.api import Run, wait_until
from assets_tests.live.sources import day

if TYPE_CHECKING:
    from assets_tests.live.conftest import Live

pytestmark = pytest.mark.live  # minutes: a real UI, killed and started again
FACTS, REVENUE = "gold.fct_orders", "gold.daily_revenue"
ASKED = "changes/gold/fct_orders"


def computed(live: Live, since: float) -> dict[date, int]:
    """How often each day of revenue was computed to the end."""
    runs = [run for run in live.dagster.runs_of(REVENUE, since) if run.status == "SUCCESS"]
    days = [day for run in runs for day in run.days]
    return {day: days.count(day) for day in days}


def restarted(live: Live, since: float) -> None:
    live.server.start()
    live.repaired(since)


def test_killed_between_the_landing_tick_and_its_run(live: Live) -> None:
    since = time.time()
    live.sources.deliver(day(3), day(6))
    wait_until(lambda: bool(live.dagster.runs_of("bronze.payments", since)), "the files are to be loaded")
    live.server.kill_daemon()
    restarted(live, since)
    assert computed(live, since).keys() == {day(3), day(6)}


def test_killed_between_the_tick_that_finds_the_day_and_its_run(live: Live) -> None:
    since = time.time()
    live.dagster.switch("repairs", on=False)
    live.sources.deliver(day(4))
    wait_until(lambda: bool(live.dagster.events(ASKED, since)), "the day is asked for")
    live.server.kill_daemon()
    live.server.start()
    live.dagster.switch("repairs", on=True)
    live.repaired(since)
    assert computed(live, since) == {day(4): 1}
    assert {one for one, _ in live.dagster.events(ASKED, since)} == {day(4)}


def test_killed_between_the_tick_that_asks_for_a_backfill_and_its_runs(live: Live) -> None:
    since = time.time()
    live.sources.deliver(day(2), day(7))
    wait_until(lambda: bool(live.dagster.backfills(since)), "a backfill is asked for")
    live.server.kill_daemon()
    restarted(live, since)
    assert computed(live, since).keys() == {day(2), day(7)}
    assert all(times <= 2 for times in computed(live, since).values())


def test_killed_in_the_middle_of_a_backfill(live: Live) -> None:
    since, days = time.time(), (day(1), day(5), day(8))
    live.sources.deliver(*days)

    def under_way() -> list[Run]:
        return [run for run in live.dagster.runs_of(REVENUE, since) if run.status == "STARTED"]

    wait_until(lambda: bool(under_way()), "a run of the backfill works")
    live.server.kill_daemon()
    restarted(live, since)
    assert computed(live, since).keys() == {*days}
    assert all(times <= 2 for times in computed(live, since).values())
    assert not any(one.unfinished for one in live.dagster.backfills(since))
