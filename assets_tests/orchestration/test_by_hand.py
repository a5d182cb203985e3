"""Backfills that somebody starts by hand: nobody asks for their days meanwhile, and what is left is asked for after."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from assets_tests.changes.conftest import GOLD, ORDERS, PAID, SILVER, START
from assets_tests.orchestration.asking import JOBS, Asking
from lakehouse.contracts import Declarations
from lakehouse.errors import SettingsError
from lakehouse.orchestration.asked import PATIENCE
from lakehouse.orchestration.backfill import require_days
from lakehouse.orchestration.backfill_plan import Request
from lakehouse.orchestration.conditions import ASKED_BY
from lakehouse.orchestration.runs import run_tables
from lakehouse.orchestration.specs import days_of
from lakehouse.orchestration.under_way import under_way
from lakehouse.tables import Window

MINUTE = 61.0
"""After which only what is being made itself waits."""
BOTH = (SILVER.name, GOLD.name)


def january(first: int, last: int) -> Window:
    return Window.of_days(date(2026, 1, first), date(2026, 1, last))


def run_by_hand(asking: Asking, days: Window) -> None:
    """One of the runs of `lakehouse backfill gold.orders --upstream`."""
    report = run_tables(asking.defs, asking.instance, [SILVER.name], window=days, part_of=BOTH)
    assert report.success, report.failures


def backfill(asking: Asking, status: str, *, ours: bool = False) -> dg.DagsterInstance:
    """One that was started on a page of the UI, as Dagster keeps it."""
    keys = ", ".join(f'{{"__class__": "AssetKey", "path": ["{name.layer}", "{name.table}"]}}' for name in BOTH)
    told = f"""{{"__class__": "PartitionBackfill", "backfill_id": "byhand", "from_failure": false,
        "status": {{"__enum__": "BulkActionStatus.{status}"}}, "backfill_timestamp": 1.0,
        "tags": {{{f'"{ASKED_BY}": "repairs"' if ours else ""}}}, "asset_selection": [{keys}]}}"""
    value = dg.deserialize_value(told)
    if asking.instance.get_backfills():
        asking.instance.update_backfill(value)
    else:
        asking.instance.add_backfill(value)
    return asking.instance


def test_days_that_a_backfill_by_hand_computes_are_not_asked_for(asking: Asking) -> None:
    """In its runs and between them, also those of its tables that another run makes."""
    asking.chain.orders((11, 3, 1), (12, 9, 1))
    asking.chain.build("silver.orders", 5)
    asking.chain.build("gold.orders", 5)
    seen = []

    def look() -> None:
        seen.append(asking.tick())
        seen.append(asking.said)
        asking.pass_time(MINUTE)
        seen.append(asking.tick())

    asking.during = look
    run_by_hand(asking, january(3, 3))
    (run,) = asking.instance.get_runs()
    assert seen == [{}, f"waiting for run {run.run_id[:8]}", {}]
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert under_way(asking.instance, JOBS).tables == set(BOTH)

    # Its next run has not begun yet.
    asking.chain.build("silver.orders", 3)
    assert asking.tick() == {}
    assert asking.said == f"out of date: gold.orders, silver.orders; waiting for the run after {run.run_id[:8]}"


def test_what_is_out_of_date_when_it_has_ended_is_asked_for(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    asking.chain.orders((11, 3, 1), (12, 9, 1))
    run_by_hand(asking, january(3, 3))
    asking.chain.build("silver.orders", 3)
    asking.chain.build("gold.orders", 3)
    assert asking.tick() == {}

    # As half a minute later.
    monkeypatch.setattr("lakehouse.orchestration.under_way.BETWEEN", timedelta(0))
    assert asking.tick() == {"silver.orders": [9]}


def test_a_backfill_of_the_ui_is_left_alone_until_it_has_ended(asking: Asking) -> None:
    asking.chain.orders((11, 3, 1), (12, 9, 1))
    backfill(asking, "REQUESTED")
    assert asking.tick() == {}
    assert asking.said == "waiting for backfill byhand"
    # What it does not make waits for a minute only.
    asking.chain.payments((4, 7, 70))
    asking.pass_time(MINUTE)
    assert asking.tick() == {f"run {PAID.name}": []}
    asking.chain.build(str(PAID.name))
    backfill(asking, "CANCELING")
    assert asking.tick() == {}

    asking.chain.build("silver.orders", 3)
    backfill(asking, "COMPLETED_SUCCESS")
    assert asking.tick() == {"silver.orders": [9], "gold.orders": [3, 7]}


def test_what_was_asked_for_before_it_began_and_is_out_of_date_still_is_asked_for_once_more(asking: Asking) -> None:
    asking.chain.orders((11, 3, 1))
    assert asking.tick() == {"silver.orders": [3]}
    backfill(asking, "REQUESTED")
    asking.pass_time(PATIENCE + 1)
    assert asking.tick() == {}
    backfill(asking, "FAILED")
    assert asking.tick() == {"silver.orders": [3]}


def test_backfills_that_were_asked_for_here_hold_nobody(asking: Asking) -> None:
    asking.chain.orders((11, 3, 1))
    backfill(asking, "REQUESTED", ours=True)
    assert asking.tick() == {"silver.orders": [3]}


@pytest.mark.parametrize("from_today", range(-2, 3))
def test_the_days_of_a_backfill_are_those_that_the_ui_offers(from_today: int) -> None:
    day = datetime.now(UTC).date() + timedelta(days=from_today)
    partitions = days_of(SILVER)
    assert partitions is not None
    request = Request(SILVER.name, Window.of_days(START, day))
    if partitions.has_partition_key(day.isoformat()):
        require_days(Declarations([SILVER]), request)
        return
    assert from_today > 0
    with pytest.raises(SettingsError, match=r"silver\.orders has no such days"):
        require_days(Declarations([SILVER]), request)


def test_tables_of_no_backfill_are_not_waited_for(asking: Asking) -> None:
    run_tables(asking.defs, asking.instance, [ORDERS.name])
    assert under_way(asking.instance, JOBS).tables == frozenset()
