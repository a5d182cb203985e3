"""Findings as rows of `ops.checks`. The table is `ledger/checks.py`; how findings come to be is `gate.py`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from datetime import datetime

from lakehouse.ledger.checks import CheckRecord
from lakehouse.quality.finding import Finding
from lakehouse.tables import TableName


def check_records(
    findings: Iterable[Finding], *, published: Collection[TableName], run_id: str, at: datetime
) -> list[CheckRecord]:
    """One row a finding, in their order. `published`: the tables of which what was judged became visible."""
    return [
        CheckRecord(
            table=one.table,
            rule=one.rule,
            severity=one.severity.value,
            outcome=one.outcome.value,
            observed=one.observed,
            rows_judged=one.rows,
            rows_failed=one.failed,
            sample=json.dumps([dict(row) for row in one.sample], ensure_ascii=False) if one.sample else None,
            sql=one.sql,
            branch=one.branch,
            snapshot_id=one.snapshot_id,
            published=one.table in published,
            run_id=run_id,
            checked_at=at,
            seconds=one.seconds,
        )
        for one in findings
    ]
