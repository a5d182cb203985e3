"""`ops.loads`: one row a load that published something, with the balance of its rows.

The same counts stand in the summary of the snapshot that the load made; this table is there to be queried.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from lakehouse.iceberg import Commit, Lake
from lakehouse.ledger.entries import ledger_table, record
from lakehouse.tables import Column, Position, Table, TableName

LOADS: Table = ledger_table(
    "loads",
    "Loads that published: rows_read = rows_published + rows_quarantined + rows_seen.",
    (
        Column("table_name", "string", required=True, description="The bronze table"),
        Column("run_key", "string", required=True, description="Key of the load: table, from, to"),
        Column("run_id", "string", required=True, description="Dagster run, or who else ran it"),
        Column("started_at", "timestamptz", required=True, description="When it began (UTC)"),
        Column("seconds", "double", required=True, description="Until it was published"),
        Column("rows_read", "long", required=True, description="Records that the source handed over"),
        Column("rows_published", "long", required=True, description="Rows added to the bronze table"),
        Column("rows_quarantined", "long", required=True, description="Records added to the quarantine"),
        Column("rows_seen", "long", required=True, description="Rejected records that the quarantine had already"),
        Column("bytes", "long", required=True, description="Of the files added to the bronze table"),
        Column("position_from", "string", description="Position before, JSON; NULL for the first load"),
        Column("position_to", "string", required=True, description="Position after, JSON"),
        Column("snapshot_id", "long", required=True, description="Snapshot of the bronze table that it made"),
    ),
    file=__file__,
)


@dataclass(frozen=True)
class LoadRecord:
    """One load. `seconds` of wall clock, `bytes` on disk."""

    table: TableName
    run_key: str
    run_id: str
    started_at: datetime
    seconds: float
    rows_read: int
    rows_published: int
    rows_quarantined: int
    rows_seen: int
    bytes: int
    position_from: Position | None
    position_to: Position | None
    snapshot_id: int | None


def record_load(lake: Lake, load: LoadRecord) -> Commit:
    """Add a load to `ops.loads`; the load that made a snapshot is there once, however often it is told."""
    entry = {
        **{name: getattr(load, name) for name in LoadRecord.__dataclass_fields__ if name != "table"},
        "table_name": str(load.table),
        "position_from": None if load.position_from is None else json.dumps(load.position_from, sort_keys=True),
        "position_to": json.dumps(load.position_to, sort_keys=True),
    }
    return record(lake, LOADS, [entry], run_key=f"load-{load.run_key}-{load.snapshot_id}")
