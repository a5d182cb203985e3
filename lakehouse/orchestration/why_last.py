"""The last time that a table changed for its readers: when, by which run, and of which days. Read from its snapshots.

Why it did not change since is `why.py`.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import date, datetime
from itertools import takewhile

from lakehouse.errors import LakehouseError
from lakehouse.iceberg import Lake, LakeTable, SnapshotInfo
from lakehouse.iceberg.refs.staged import PUBLISHED
from lakehouse.ledger import LOADS
from lakehouse.tables import Layer, Table, Window
from lakehouse.tables.window import spans

_PACKED = "replace"


@dataclass(frozen=True)
class LastWrite:
    """The last run that wrote to main; compaction does not count, for it changes no row.

    `run_id`, or its first eight letters, is None where another program wrote. `days` (UTC) are those it wrote,
    `newest_day` holds rows: both only of a table with a window column. `rows`: of the whole table.
    """

    at: datetime
    snapshot_id: int
    run_id: str | None
    days: tuple[Window, ...]
    newest_day: date | None
    rows: int


def last_write(lake: Lake, table: Table) -> LastWrite | None:
    """What a table's own history says; None for one that has none. Raises CatalogError, StateError."""
    if not lake.exists(table.name):
        return None
    stored = lake.table(table.name)
    history = stored.snapshots()
    written = [snapshot for snapshot in history if snapshot.operation != _PACKED]
    if not written:
        return None
    newest, run_id = written[0], _run_of(lake, table, written[0])
    # A long window is published in slices, each a commit of the same run.
    own = list(takewhile(lambda one: run_id is not None and _run_of(lake, table, one) == run_id, written)) or [newest]
    before = next(iter(history[history.index(own[-1]) + 1 :]), None)
    windowed = table.window_column is not None
    return LastWrite(
        at=newest.committed_at,
        snapshot_id=newest.id,
        run_id=run_id,
        days=_days(stored, before, newest) if windowed else (),
        newest_day=max(stored.days(), default=None) if windowed else None,
        rows=stored.stats().rows,
    )


def _days(stored: LakeTable, before: SnapshotInfo | None, newest: SnapshotInfo) -> tuple[Window, ...]:
    """The days that were written since a snapshot, from metadata alone."""
    try:
        return spans(stored.changed_days(before.sequence_number if before is not None else 0, until=newest.id).days)
    except LakehouseError:
        # Its history has gaps, as after a restore: the days of a write are told for their interest only.
        return ()


def _run_of(lake: Lake, table: Table, snapshot: SnapshotInfo) -> str | None:
    """The run that wrote a snapshot: a model's run key begins with it, a load's is in `ops.loads`."""
    if table.name.layer is Layer.BRONZE:
        return _run_of_load(lake, snapshot)
    if PUBLISHED in snapshot.summary:
        # Some days of a branch, without the key of its run: that is not done. The branch is named after it.
        folder, _, name = str(json.loads(snapshot.summary[PUBLISHED])["branch"]).partition("/")
        return name.partition("-")[0] if folder == "run" else None
    run_id, _, _ = (snapshot.run_key or "").partition(":")
    try:
        return str(uuid.UUID(run_id))
    except ValueError:
        return None


def _run_of_load(lake: Lake, snapshot: SnapshotInfo) -> str | None:
    if not lake.exists(LOADS.name):
        return None
    rows = lake.table(LOADS.name).scan(columns=["run_id"], where=f"snapshot_id = {snapshot.id}").read_all()
    found: list[str] = rows["run_id"].to_pylist()
    return found[0] if found else None
