"""Findings as rows of `ops.checks`."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from lakehouse.iceberg import Lake
from lakehouse.ledger import CHECKS, CheckRecord, record_checks
from lakehouse.quality.finding import Finding, Outcome
from lakehouse.quality.record import check_records
from lakehouse.tables import Severity, TableName

ORDERS, REVENUE = TableName.parse("silver.orders"), TableName.parse("gold.daily_revenue")
AT = datetime(2026, 11, 21, 3, tzinfo=UTC)
FAILED = Finding(
    table=ORDERS,
    rule="amount_positive",
    severity=Severity.ERROR,
    outcome=Outcome.FAILED,
    description="An amount is never negative",
    observed="1 of 3 rows",
    rows=3,
    failed=1,
    sample=({"id": "7", "name": "•••", "note": None},),
    sql="select * from silver.orders where not (amount >= 0)",
    branch="run/abc",
    snapshot_id=42,
    seconds=0.25,
)
UNJUDGED = Finding(
    table=REVENUE,
    rule="sum_of_orders",
    severity=Severity.WARNING,
    outcome=Outcome.ERROR,
    description="",
    observed="no table silver.orders",
)


def test_a_finding_is_recorded_with_all_it_says() -> None:
    (told,) = check_records([FAILED], published=(), run_id="run-1", at=AT)
    assert told == CheckRecord(
        table=ORDERS,
        rule="amount_positive",
        severity="error",
        outcome="failed",
        observed="1 of 3 rows",
        rows_judged=3,
        rows_failed=1,
        sample='[{"id": "7", "name": "•••", "note": null}]',
        sql="select * from silver.orders where not (amount >= 0)",
        branch="run/abc",
        snapshot_id=42,
        published=False,
        run_id="run-1",
        checked_at=AT,
        seconds=0.25,
    )


def test_what_was_not_seen_is_null() -> None:
    (told,) = check_records([UNJUDGED], published=(), run_id="run-1", at=AT)
    assert (told.rows_judged, told.rows_failed, told.sample, told.snapshot_id) == (None, None, None, None)
    assert (told.outcome, told.severity) == ("error", "warning")


@pytest.mark.parametrize(
    ("published", "told"), [((), (False, False)), ((ORDERS,), (True, False)), ({ORDERS, REVENUE}, (True, True))]
)
def test_a_table_that_was_published_is_recorded_as_such(
    published: tuple[TableName, ...], told: tuple[bool, bool]
) -> None:
    records = check_records([FAILED, UNJUDGED], published=published, run_id="run-1", at=AT)
    assert tuple(one.published for one in records) == told
    assert [one.rule for one in records] == ["amount_positive", "sum_of_orders"]


def test_the_ledger_takes_it_as_it_is(lake: Lake) -> None:
    record_checks(
        lake, check_records([FAILED, UNJUDGED], published=[REVENUE], run_id="run-1", at=AT), run_key="run-1/checks"
    )
    first, second = lake.table(CHECKS.name).scan().read_all().to_pylist()
    assert json.loads(first["sample"]) == [dict(row) for row in FAILED.sample]
    assert second["sample"] is None
    assert (first["checked_at"], first["published"], second["published"]) == (AT, False, True)
