"""Late data repairs gold by itself: nobody acts but the daemon, and only the days that changed are computed again.

The tests share one project and stand in the order of its life. LAKEHOUSE_SCREENSHOTS=1 takes the pictures anew.
"""

from __future__ import annotations

import json
import os
import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

from assets_tests.live.api import wait_until
from assets_tests.live.sources import day

if TYPE_CHECKING:
    from assets_tests.live.conftest import Live

pytestmark = pytest.mark.live  # minutes: a real UI and its daemon
SILVER, FACTS, REVENUE = DAILY = ("silver.orders", "gold.fct_orders", "gold.daily_revenue")
LATE = (day(3), day(5), day(9))
IMAGES = Path(__file__).parents[2] / "docs" / "images"
# For pictures only: colours and positions are animated. No expectation hangs on it.
SETTLED_MILLISECONDS = 3000


def moved(live: Live, before: dict[str, dict[str, frozenset[str]]], table: str) -> set[date]:
    """The days of a table whose data files are not those of before."""
    now = live.files(table)
    days = now.keys() | before[table].keys()
    return {date.fromisoformat(day) for day in days if now.get(day) != before[table].get(day)}


def spans(days: tuple[date, ...]) -> list[tuple[date, ...]]:
    """Days that follow one another, together."""
    found: list[tuple[date, ...]] = []
    for one in days:
        if found and (one - found[-1][-1]).days == 1:
            found[-1] += (one,)
        else:
            found.append((one,))
    return found


def test_three_late_files_are_one_backfill_of_their_days_and_no_other_day_is_touched(live: Live) -> None:
    before, since = {table: live.files(table) for table in DAILY}, time.time()
    live.sources.deliver(*LATE)
    live.repaired(since)

    [backfill] = live.dagster.backfills(since)
    assert backfill.status == "COMPLETED_SUCCESS"
    assert {table: days for table, days in backfill.days.items() if days} == {FACTS: LATE, REVENUE: LATE}
    runs = live.dagster.runs_of(REVENUE, since)
    assert sorted(run.days for run in runs) == [(one,) for one in LATE]
    for run in runs:
        assert (run.status, run.backfill) == ("SUCCESS", backfill.id)
        assert FACTS in run.assets
    assert [moved(live, before, table) for table in DAILY] == [set(), set(LATE), set(LATE)]


def shown(page: Page, text: str) -> Locator:
    """The first element with this very text that can be seen: Dagster keeps hidden copies to measure them."""
    return page.get_by_text(text, exact=True).and_(page.locator(":visible")).first


def picture(page: Page, name: str) -> None:
    if "LAKEHOUSE_SCREENSHOTS" in os.environ:
        page.wait_for_timeout(SETTLED_MILLISECONDS)
        page.screenshot(path=IMAGES / name)


def test_a_person_finds_that_backfill_in_the_pages_and_who_asked_for_it(live: Live, page: Page) -> None:
    [backfill] = live.dagster.backfills(0)
    page.goto("/runs?view=backfills")
    for text in (backfill.id, "3 partitions", "gold / fct_orders", "gold / daily_revenue", "repairs", "Success"):
        expect(shown(page, text)).to_be_visible()
    picture(page, "backfills.png")
    page.goto(f"/runs/b/{backfill.id}")
    for text in ("3 ranges", "Succeeded", "gold / fct_orders", "gold / daily_revenue"):
        expect(shown(page, text)).to_be_visible()


def test_the_day_says_why_it_is_computed_again(live: Live) -> None:
    events = live.dagster.events(f"changes/{FACTS.replace('.', '/')}", 0)
    assert {one for one, _ in events} >= set(LATE)
    assert all("silver.payments" in " ".join(facts.values()) for one, facts in events if one in LATE)


def test_one_late_file_is_one_run_and_no_backfill(live: Live) -> None:
    before, since = {table: live.files(table) for table in DAILY}, time.time()
    [delivered] = json.loads(live.server.run("demo", "deliver", "--late", "1", "--json"))
    late = date.fromisoformat(delivered["file"].removeprefix("payments/payments-")[:10])
    live.repaired(since)

    assert live.dagster.backfills(since) == []
    [run] = live.dagster.runs_of(REVENUE, since)
    assert (run.status, run.days, run.backfill) == ("SUCCESS", (late,), None)
    assert FACTS in run.assets
    assert [moved(live, before, table) for table in DAILY] == [set(), {late}, {late}]


def test_an_order_of_ten_days_ago_that_changes_repairs_its_day_in_silver_and_gold_at_once(live: Live) -> None:
    before, since = {table: live.files(table) for table in DAILY}, time.time()
    live.sources.correct_orders(day(2))
    live.repaired(since)

    assert live.dagster.backfills(since) == []
    runs = live.dagster.runs_of(REVENUE, since)
    # The order and its lines are two inputs: where their load takes long, the day does not wait for the second.
    assert 1 <= len(runs) <= 2
    assert {(run.status, run.days) for run in runs} == {("SUCCESS", (day(2),))}
    assert [run.assets >= {*DAILY} for run in runs].count(True) == 1
    assert [moved(live, before, table) for table in DAILY] == [{day(2)}] * 3


def test_changes_of_several_days_are_one_backfill_in_which_neighbours_share_a_run(live: Live) -> None:
    since, days = time.time(), (day(4), day(5), day(8))
    live.sources.correct_orders(*days)
    live.repaired(since)

    [backfill] = [one for one in live.dagster.backfills(since) if SILVER in one.days]
    assert backfill.status == "COMPLETED_SUCCESS"
    assert backfill.days == dict.fromkeys(DAILY, days)
    runs = [run for run in live.dagster.runs_of(REVENUE, since) if run.backfill == backfill.id]
    assert sorted(run.days for run in runs) == spans(days)
    assert all({*DAILY} <= run.assets for run in runs)


def test_upkeep_moves_the_rows_into_other_files_and_nothing_is_computed_for_it(live: Live) -> None:
    tables = ("bronze.orders", "bronze.payments", "silver.orders", "gold.fct_orders")
    before, since = {table: live.files(table) for table in tables}, time.time()
    live.server.run("upkeep", "run", *tables)
    assert moved(live, before, "bronze.orders"), "nothing was packed, so nothing is shown by what follows"
    live.rested(since)

    assert live.dagster.backfills(since) == []
    assert [run for run in live.dagster.runs(since) if not all(one.startswith("upkeep.") for one in run.assets)] == []
    assert live.wrong_days() == []


def test_a_sensor_that_lost_its_cursor_asks_once_more_and_nothing_is_missed(live: Live) -> None:
    since, asked = time.time(), f"changes/{FACTS.replace('.', '/')}"
    live.dagster.switch("repairs", on=False)
    live.sources.deliver(day(6))
    wait_until(lambda: len(live.dagster.events(asked, since)) == 1, "the day is asked for")
    live.dagster.set_cursor("changes", None)
    wait_until(lambda: len(live.dagster.events(asked, since)) == 2, "the day is asked for once more")
    live.dagster.switch("repairs", on=True)
    live.repaired(since)

    assert [one for one, _ in live.dagster.events(asked, since)] == [day(6)] * 2
    [run] = live.dagster.runs_of(REVENUE, since)
    assert (run.status, run.days) == ("SUCCESS", (day(6),))


def test_a_cursor_that_is_lost_while_all_is_well_asks_for_nothing(live: Live) -> None:
    since = time.time()
    live.dagster.set_cursor("changes", None)
    live.rested(since)
    assert [*live.dagster.runs(since), *live.dagster.backfills(since)] == []


def test_a_bad_file_is_stopped_and_gold_stays_as_it_is_until_the_good_one_comes(live: Live) -> None:
    before, since = {table: live.files(table) for table in DAILY}, time.time()
    live.server.run("demo", "deliver", "--bad")
    live.rested(since)
    [load] = live.dagster.runs_of("bronze.payments", since)
    assert load.status == "FAILURE"

    again = time.time()
    live.server.run("demo", "deliver", "--good")
    live.repaired(again)
    [load] = live.dagster.runs_of("bronze.payments", again)
    assert load.status == "SUCCESS"
    # Nothing came that had not come before.
    assert live.dagster.runs_of(REVENUE, since) == []
    assert [moved(live, before, table) for table in DAILY] == [set()] * 3
