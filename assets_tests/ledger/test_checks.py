"""`ops.checks`: one entry a rule and run, once, and queryable."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lakehouse.iceberg import Lake, connect
from lakehouse.ledger import CHECKS, CheckRecord, record_checks
from lakehouse.settings import Settings
from lakehouse.tables import Column, TableName

CHECK = CheckRecord(
    table=TableName.parse("silver.orders"),
    rule="amount_positive",
    severity="error",
    outcome="failed",
    observed="1 of 3 rows",
    rows_judged=3,
    rows_failed=1,
    sample='[{"id": "7"}]',
    sql="select * from silver.orders where not (amount >= 0)",
    branch="run/abc",
    snapshot_id=42,
    published=False,
    run_id="run-1",
    checked_at=datetime(2026, 11, 21, 3, tzinfo=UTC),
    seconds=0.25,
)
TABLE_RULE = replace(CHECK, rule="id_unique", outcome="passed", rows_judged=None, rows_failed=None, sample=None)


def entries(lake: Lake) -> list[dict[str, object]]:
    return list(lake.table(CHECKS.name).scan().read_all().to_pylist())


def test_a_check_is_recorded_with_all_it_says(lake: Lake) -> None:
    record_checks(lake, [CHECK], run_key="run-1")
    assert entries(lake) == [
        {
            "table_name": "silver.orders",
            "rule": "amount_positive",
            "severity": "error",
            "outcome": "failed",
            "observed": "1 of 3 rows",
            "rows_judged": 3,
            "rows_failed": 1,
            "sample": '[{"id": "7"}]',
            "sql": "select * from silver.orders where not (amount >= 0)",
            "branch": "run/abc",
            "snapshot_id": 42,
            "published": False,
            "run_id": "run-1",
            "checked_at": CHECK.checked_at,
            "seconds": 0.25,
        }
    ]


def test_all_of_a_run_is_one_snapshot_and_told_twice_is_there_once(lake: Lake) -> None:
    first = record_checks(lake, [CHECK, TABLE_RULE], run_key="run-1")
    again = record_checks(lake, [CHECK, TABLE_RULE], run_key="run-1")
    assert first is not None
    assert again is not None
    assert (first.already_done, again.already_done) == (False, True)
    assert first.snapshot_id == again.snapshot_id
    assert [entry["rule"] for entry in entries(lake)] == ["amount_positive", "id_unique"]
    assert len(lake.table(CHECKS.name).snapshots()) == 1


def test_another_run_adds_to_it(lake: Lake) -> None:
    record_checks(lake, [CHECK], run_key="run-1")
    record_checks(lake, [replace(CHECK, run_id="run-2")], run_key="run-2")
    assert sorted(str(entry["run_id"]) for entry in entries(lake)) == ["run-1", "run-2"]


def test_nothing_judged_is_no_commit_and_no_table(lake: Lake) -> None:
    assert record_checks(lake, [], run_key="run-1") is None
    assert not lake.exists(CHECKS.name)
    record_checks(lake, [CHECK], run_key="run-1")
    assert record_checks(lake, [], run_key="run-2") is None
    assert len(lake.table(CHECKS.name).snapshots()) == 1


def test_the_last_result_of_a_rule_can_be_asked_in_sql(lake: Lake, settings: Settings) -> None:
    later = replace(CHECK, outcome="passed", rows_failed=0, checked_at=CHECK.checked_at + timedelta(days=1))
    record_checks(lake, [later], run_key="run-2")
    record_checks(lake, [CHECK, TABLE_RULE], run_key="run-1")
    with connect(settings) as duck:
        asked = (
            f"select rule, max_by(outcome, checked_at) from {lake.relation_sql(CHECKS.name)} group by rule order by 1"
        )
        assert duck.execute(asked).fetchall() == [("amount_positive", "passed"), ("id_unique", "passed")]


@pytest.mark.parametrize("column", CHECKS.columns, ids=lambda column: column.name)
def test_every_column_is_described(column: Column) -> None:
    assert column.description
