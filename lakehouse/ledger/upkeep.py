"""`ops.upkeep`: one row an action of upkeep on a table, one append a run.

What is done, and why, belongs in `upkeep/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from lakehouse.iceberg import Commit, Lake
from lakehouse.ledger.entries import ledger_table, record
from lakehouse.tables import Column, Table, TableName

UPKEEP: Table = ledger_table(
    "upkeep",
    "What upkeep did to tables: files packed, snapshots expired, orphaned files removed.",
    (
        Column("table_name", "string", required=True, description="The table that was kept up"),
        Column("action", "string", required=True, description="compact, expire or orphans"),
        Column("outcome", "string", required=True, description="done; nothing: no need; refused: in part; failed"),
        Column("detail", "string", required=True, description="What was done, refused or failed, in words"),
        Column("files_before", "long", required=True, description="Live data files of main before the run"),
        Column("files_after", "long", required=True, description="Live data files of main after the run"),
        Column("bytes_before", "long", required=True, description="Bytes of these files before the run"),
        Column("bytes_after", "long", required=True, description="Bytes of these files after the run"),
        Column("rows", "long", required=True, description="Rows in the live data files after the run"),
        Column("delete_files_before", "long", required=True, description="Live delete files before the run"),
        Column("delete_files_after", "long", required=True, description="Live delete files after the run"),
        Column("snapshots_before", "long", required=True, description="Snapshots of the table before the run"),
        Column("snapshots_after", "long", required=True, description="Snapshots of the table after the run"),
        Column("groups", "long", description="compact: groups of files that became one"),
        Column("rows_proved", "long", description="compact: rows counted and hashed before and after"),
        Column("row_hash", "string", description="compact: the sum of their hashes, the same before and after"),
        Column("files_deleted", "long", description="expire, orphans: files removed from storage"),
        Column("bytes_deleted", "long", description="expire, orphans: bytes of these files"),
        Column("seconds", "double", required=True, description="How long the action took"),
        Column("run_id", "string", required=True, description="Dagster run, or who else ran it"),
        Column("started_at", "timestamptz", required=True, description="When the run began (UTC)"),
    ),
    file=__file__,
)


@dataclass(frozen=True)
class UpkeepRecord:
    """One action on one table. Figures are of the whole run; `groups` to `bytes_deleted` of the action."""

    table: TableName
    action: str
    outcome: str
    detail: str
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    rows: int
    delete_files_before: int
    delete_files_after: int
    snapshots_before: int
    snapshots_after: int
    seconds: float
    run_id: str
    started_at: datetime
    groups: int | None = None
    rows_proved: int | None = None
    row_hash: str | None = None
    files_deleted: int | None = None
    bytes_deleted: int | None = None


def record_upkeep(lake: Lake, done: Sequence[UpkeepRecord], *, run_key: str) -> Commit | None:
    """Add what a run did, in one snapshot; the same run key adds nothing again. Nothing done: no commit."""
    entries = [{**_columns(one), "table_name": str(one.table)} for one in done]
    return record(lake, UPKEEP, entries, run_key=run_key) if entries else None


@dataclass(frozen=True)
class LastTry:
    """When a run that did an action last began, and what went wrong with it; None when nothing did."""

    at: datetime
    failure: str | None = None


def last_tries(lake: Lake) -> Mapping[TableName, Mapping[str, LastTry]]:
    """The last try of each action, by table. Raises CatalogError, StateError."""
    if not lake.exists(UPKEEP.name):
        return {}
    newest: dict[TableName, dict[str, LastTry]] = {}
    for batch in lake.table(UPKEEP.name).scan(columns=["table_name", "action", "started_at", "outcome", "detail"]):
        for row in batch.to_pylist():
            tries = newest.setdefault(TableName.parse(row["table_name"]), {})
            found = LastTry(row["started_at"], row["detail"] if row["outcome"] == "failed" else None)
            if row["action"] not in tries or tries[row["action"]].at < found.at:
                tries[row["action"]] = found
    return newest


def _columns(one: UpkeepRecord) -> dict[str, object]:
    return {name: value for name, value in asdict(one).items() if name != "table"}
