"""Runs of several days, one of them bad: what Dagster shows of each, and how the bad one gets well. In order."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest

from lakehouse.orchestration.runs import RunReport
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from conftest import Till

SILVER, GOLD = TableName.parse("silver.receipts"), TableName.parse("gold.takings")
DAYS = [date(2026, 1, 1) + timedelta(days=number) for number in range(4)]
FIRST, LAST = DAYS[0], DAYS[-1]


@pytest.fixture(scope="module")
def partly(till: Till) -> RunReport:
    """Four days, of which the third has a receipt that breaks a rule; another breaks a warning."""
    till.receive({number: (day, 100 + number) for number, day in enumerate(DAYS)})
    till.receive({10: (DAYS[2], 20_000), 11: (DAYS[3], 50)})
    return till.run(FIRST, LAST)


def test_only_the_bad_day_is_failed_and_the_others_are_there_with_their_rows(till: Till, partly: RunReport) -> None:
    assert not partly.success
    good = dict.fromkeys(DAYS, "MATERIALIZED")
    for name in (SILVER, GOLD):
        assert till.states(name, FIRST, LAST) == {**good, DAYS[2]: "FAILED"}
    assert till.told(partly.run_id, SILVER) == [(DAYS[0], 1), (DAYS[1], 1), (DAYS[3], 2)]
    assert till.told(partly.run_id, GOLD) == [(DAYS[0], 1), (DAYS[1], 1), (DAYS[3], 1)]
    assert till.takings() == {DAYS[0]: 100, DAYS[1]: 101, DAYS[3]: 153}


def test_the_failure_names_table_day_rule_and_branch_and_the_check_is_failed(till: Till, partly: RunReport) -> None:
    (failure,) = partly.failures
    branch = till.lake.table(GOLD).branches()[0]
    assert failure.finding
    for words in ("silver.receipts", "gold.takings", "2026-01-03", "rule no_large_amount", branch, "lakehouse branch"):
        assert words in failure.reason
    assert "2026-01-04" not in failure.reason.replace("[2026-01-03, 2026-01-04)", "")
    told = {(str(name), check): passed for name, check, passed, _ in partly.checks}
    assert not told["silver.receipts", "no_large_amount"]
    assert told["silver.receipts", "no_debt"]
    # The branch keeps all days, the bad one too.
    assert till.lake.table(SILVER).scan(at=branch).read_all().num_rows == 6


def test_the_bad_day_is_tried_again_alone(till: Till, partly: RunReport) -> None:
    assert partly
    again = till.run(DAYS[2], DAYS[2])
    assert not again.success
    assert till.states(GOLD, FIRST, LAST)[DAYS[2]] == "FAILED"

    till.receive({10: (DAYS[2], 200)})
    assert till.run(DAYS[2], DAYS[2]).success
    assert set(till.states(GOLD, FIRST, LAST).values()) == {"MATERIALIZED"}
    assert till.takings()[DAYS[2]] == 302


def test_a_rule_that_names_no_days_holds_every_day_and_says_so(till: Till, partly: RunReport) -> None:
    assert partly
    before = till.takings()
    till.receive({20: (DAYS[1], -4), 21: (DAYS[0], 8)})

    report = till.run(DAYS[0], DAYS[1])

    assert not report.success
    (failure,) = report.failures
    assert "says nothing about single days: every day of [2026-01-01, 2026-01-03) is held" in failure.reason
    assert till.takings() == before
    assert till.told(report.run_id, SILVER) == []
    assert {till.states(SILVER, FIRST, LAST)[day] for day in DAYS[:2]} == {"FAILED"}
    # By the day, the good one gets through: each day is a whole run then.
    assert till.run(DAYS[0], DAYS[0]).success
    assert till.takings()[DAYS[0]] == before[DAYS[0]] + 8
