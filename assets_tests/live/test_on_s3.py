"""Late data repairs gold by itself where landing zone and tables are in a bucket, and the catalog in a server.

What is asked of the daemon in detail, `test_repairs.py` asks of the embedded profile.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from assets_tests.live.sources import day

if TYPE_CHECKING:
    from assets_tests.live.conftest import Live

pytestmark = pytest.mark.live
FACTS, REVENUE = "gold.fct_orders", "gold.daily_revenue"


def test_late_files_in_a_bucket_are_one_backfill_of_their_days(on_s3: Live) -> None:
    since = time.time()
    on_s3.sources.deliver(day(3), day(9))
    on_s3.repaired(since)

    [backfill] = on_s3.dagster.backfills(since)
    assert backfill.status == "COMPLETED_SUCCESS"
    assert {table: days for table, days in backfill.days.items() if days} == {
        FACTS: (day(3), day(9)),
        REVENUE: (day(3), day(9)),
    }


def test_a_row_of_an_old_day_that_changes_repairs_its_day(on_s3: Live) -> None:
    since = time.time()
    on_s3.sources.correct_orders(day(5))
    on_s3.repaired(since)

    assert on_s3.wrong_days() == []
    runs = on_s3.dagster.runs_of(REVENUE, since)
    assert sorted(run.days for run in runs) == [(day(5),)]
    assert all(run.status == "SUCCESS" for run in runs)
