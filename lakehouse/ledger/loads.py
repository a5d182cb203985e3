"""`ops.loads`: one row a load that published something, with the balance of its rows.

It is a projection of what the summaries of the loads' own snapshots say, and is there to be queried: what is missing is
added out of the snapshots that are kept, so that the table may be dropped, and a load may die before it is told.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from lakehouse.errors import RunKeyTooOld
from lakehouse.iceberg import Commit, Lake, LakeTable, SnapshotInfo
from lakehouse.ledger.entries import ledger_table, record
from lakehouse.tables import Column, Position, Table, TableName

LOAD_SCOPE = "load"
"""The scope under which a bronze table keeps its source's position."""

LOADS: Table = ledger_table(
    "loads",
    "Loads that published: rows_read = rows_published + rows_quarantined + rows_seen.",
    (
        Column("table_name", "string", required=True, description="The bronze table"),
        Column("run_key", "string", required=True, description="Key of the load: table, from, to"),
        Column("run_id", "string", required=True, description="Dagster run, or who else ran it"),
        Column("started_at", "timestamptz", required=True, description="When it began (UTC)"),
        Column("seconds", "double", required=True, description="Until its rows were committed"),
        Column(
            "rows_read", "long", required=True, description="Records that the source has, counted by itself if it can"
        ),
        Column("rows_published", "long", required=True, description="Rows added to the bronze table, by its manifests"),
        Column("rows_quarantined", "long", required=True, description="Records added to the quarantine"),
        Column("rows_seen", "long", required=True, description="Records that bronze or the quarantine had already"),
        Column("bytes", "long", required=True, description="Of the files added to the bronze table"),
        Column("position_from", "string", description="Position before, JSON; NULL for the first load"),
        Column("position_to", "string", required=True, description="Position after, JSON"),
        Column("snapshot_id", "long", required=True, description="Snapshot of the bronze table that it made"),
        Column("bytes_read", "long", description="Of what was read, where the source knows it"),
        Column("retries", "long", description="How often the load, or its source, had to try again"),
        Column("lag_seconds", "double", description="How far a transaction in flight held the position back"),
        Column("rows_deleted", "long", description="Rows added besides, each saying that the source has a key no more"),
        Column("reread", "string", description="Read again: the days, or full; NULL for a load of what is new"),
    ),
    file=__file__,
)

_COUNTS = {
    name: f"lakehouse.rows-{name.removeprefix('rows_')}" for name in ("rows_read", "rows_quarantined", "rows_seen")
}
_STARTED, _RUN, _TOLD = "lakehouse.extracted-at", "lakehouse.run-id", "lakehouse.load-figures"


@dataclass(frozen=True)
class LoadCounts:
    """What a load counted before it committed; `rows_published` is what it meant to publish."""

    rows_read: int
    rows_published: int
    rows_quarantined: int
    rows_seen: int
    rows_deleted: int = 0
    bytes_read: int | None = None
    retries: int = 0
    lag: timedelta | None = None
    reread: str | None = None

    def summary(self, *, started_at: datetime, run_id: str) -> dict[str, str]:
        """As the summary of the load's snapshot has it, and `load_of` reads it."""
        rest = {
            "bytes_read": self.bytes_read,
            "retries": self.retries,
            "rows_deleted": self.rows_deleted,
            "lag_seconds": None if self.lag is None else self.lag.total_seconds(),
            "reread": self.reread,
        }
        return {
            _STARTED: started_at.isoformat(),
            _RUN: run_id,
            "lakehouse.rows-published": str(self.rows_published),
            **{key: str(getattr(self, name)) for name, key in _COUNTS.items()},
            _TOLD: json.dumps({name: value for name, value in rest.items() if value is not None}),
        }


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
    bytes_read: int | None = None
    retries: int | None = None
    lag_seconds: float | None = None
    rows_deleted: int | None = None
    reread: str | None = None

    @property
    def difference(self) -> int:
        """Rows read that are accounted for nowhere; below 0 where there are more of them than were read."""
        return self.rows_read - self.rows_published - self.rows_quarantined - self.rows_seen


def load_of(table: LakeTable, snapshot: SnapshotInfo, before: Position | None) -> LoadRecord | None:
    """The load that made a snapshot, out of its summary and its manifests; None where no load made it."""
    summary = snapshot.summary
    if snapshot.run_key is None or not {_STARTED, *_COUNTS.values()} <= summary.keys():
        return None
    started_at = datetime.fromisoformat(summary[_STARTED])
    more: dict[str, Any] = json.loads(summary.get(_TOLD, "{}"))
    counts: dict[str, Any] = {name: int(summary[key]) for name, key in _COUNTS.items()}
    return LoadRecord(
        table=table.name,
        run_key=snapshot.run_key,
        run_id=summary.get(_RUN, ""),
        started_at=started_at,
        seconds=max(0.0, (snapshot.committed_at - started_at).total_seconds()),
        rows_published=table.rows_added(snapshot.id) - more.get("rows_deleted", 0),
        bytes=int(summary.get("added-files-size", 0)),
        position_from=before,
        position_to=snapshot.positions.get(LOAD_SCOPE),
        snapshot_id=snapshot.id,
        **counts,
        **more,
    )


def record_load(lake: Lake, load: LoadRecord) -> Commit:
    """Add a load to `ops.loads`; the load that made a snapshot is there once, however often it is told.

    Raises RunKeyTooOld where nobody can tell any more whether it is there.
    """
    entry = {
        **{name: value for name, value in asdict(load).items() if name != "table"},
        "table_name": str(load.table),
        "position_from": None if load.position_from is None else json.dumps(load.position_from, sort_keys=True),
        "position_to": json.dumps(load.position_to, sort_keys=True),
    }
    committed_at = load.started_at + timedelta(seconds=load.seconds)
    return record(lake, LOADS, [entry], run_key=_key(load.run_key, load.snapshot_id), issued_at=committed_at)


def record_loads(lake: Lake, name: TableName) -> None:
    """Add the loads of a table that its main remembers and `ops.loads` does not have: the last one, as a rule."""
    known = {one.run_key for one in lake.table(LOADS.name).snapshots()} if lake.exists(LOADS.name) else set()
    for load in reversed(list(_missing(lake.look(name), known))):
        # What is older than the memory of `ops.loads` was told long ago.
        with suppress(RunKeyTooOld):
            record_load(lake, load)


def _missing(table: LakeTable, known: set[str | None]) -> Iterator[LoadRecord]:
    """Newest first. What is older than a load that was told was told before it."""
    history = table.snapshots()
    for place, snapshot in enumerate(history):
        if snapshot.run_key is not None and _key(snapshot.run_key, snapshot.id) in known:
            return
        older = (one.positions[LOAD_SCOPE] for one in history[place + 1 :] if LOAD_SCOPE in one.positions)
        if (load := load_of(table, snapshot, next(older, None))) is not None:
            yield load


def recorded_loads(lake: Lake, name: TableName | None = None, *, limit: int) -> tuple[LoadRecord, ...]:
    """The last loads, of one table or of all, newest first. Raises CatalogError."""
    if not lake.exists(LOADS.name):
        return ()
    where = None if name is None else f"table_name = '{name}'"
    rows = (row for batch in lake.table(LOADS.name).scan(where=where) for row in batch.to_pylist())
    return tuple(map(_record, heapq.nlargest(limit, rows, key=lambda row: (row["started_at"], row["snapshot_id"]))))


def _record(row: Mapping[str, Any]) -> LoadRecord:
    # A table that an earlier release made has no columns of later ones yet.
    told = {field.name: row.get(field.name) for field in fields(LoadRecord) if field.name != "table"}
    positions = {key: json.loads(told[key] or "null") for key in ("position_from", "position_to")}
    return LoadRecord(table=TableName.parse(row["table_name"]), **{**told, **positions})


def _key(run_key: str, snapshot_id: int | None) -> str:
    return f"load-{run_key}-{snapshot_id}"
