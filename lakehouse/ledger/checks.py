"""`ops.checks`: one row a rule that was judged, one append a run. What a finding is belongs in `quality/`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from lakehouse.iceberg import Commit, Lake
from lakehouse.ledger.entries import ledger_table, record
from lakehouse.tables import Column, Table, TableName

CHECKS: Table = ledger_table(
    "checks",
    "Rules of contracts as they were judged, before what they were judged on became visible.",
    (
        Column("table_name", "string", required=True, description="The table that the rule is about"),
        Column("rule", "string", required=True, description="Name of the rule in the table's contract"),
        Column("severity", "string", required=True, description="error: a failure blocks; warning: it is shown"),
        Column("outcome", "string", required=True, description="passed, failed, or error: could not be judged"),
        Column("observed", "string", required=True, description="What was seen, in a few words"),
        Column("rows_judged", "long", description="Rows judged, where rows can be told apart"),
        Column("rows_failed", "long", description="Rows that broke the rule"),
        Column("sample", "string", description="Some failing rows, JSON, personal columns masked"),
        Column("sql", "string", required=True, description="The query that finds the failing rows again"),
        Column("branch", "string", required=True, description="The branch that was judged"),
        Column("snapshot_id", "long", description="The snapshot that was judged; NULL for a table without rows yet"),
        Column("published", "boolean", required=True, description="Whether what was judged became visible"),
        Column("run_id", "string", required=True, description="Dagster run, or who else ran it"),
        Column("checked_at", "timestamptz", required=True, description="When the run judged it (UTC)"),
        Column("seconds", "double", required=True, description="How long it took"),
    ),
    file=__file__,
)


@dataclass(frozen=True)
class CheckRecord:
    """One rule judged. `sample` is JSON."""

    table: TableName
    rule: str
    severity: str
    outcome: str
    observed: str
    rows_judged: int | None
    rows_failed: int | None
    sample: str | None
    sql: str
    branch: str
    snapshot_id: int | None
    published: bool
    run_id: str
    checked_at: datetime
    seconds: float


def record_checks(lake: Lake, checks: Sequence[CheckRecord], *, run_key: str) -> Commit | None:
    """Add what a run judged, in one snapshot; the same run key adds nothing again. Nothing judged: no commit."""
    entries = [{**_columns(check), "table_name": str(check.table)} for check in checks]
    return record(lake, CHECKS, entries, run_key=run_key) if entries else None


def _columns(check: CheckRecord) -> dict[str, object]:
    return {name: value for name, value in asdict(check).items() if name != "table"}
