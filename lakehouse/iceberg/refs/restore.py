"""Restore: main goes back to a snapshot of its past, and the progress of loads with it.

A plan is made first and carried out only if nothing has happened since. What was undone is kept under a tag, so that
the restore can be undone in the same way. Which tables have read what is undone is `consumers.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import RemovePropertiesUpdate, SetPropertiesUpdate, TableRequirement, TableUpdate

from lakehouse.errors import CommitConflict, CommitError, SnapshotMissing
from lakehouse.iceberg.catalogs.safe import SafeCatalog
from lakehouse.iceberg.commits.outcome import Commit, describe, merged, nothing_new
from lakehouse.iceberg.commits.past_progress import progress_as_of
from lakehouse.iceberg.commits.progress import FLOOR, MAIN, RUN_KEY, Progress, floor_properties, history, summary_of
from lakehouse.iceberg.commits.sidecar import NONE, TOMBSTONES, sidecar_at
from lakehouse.iceberg.refs.at import At, snapshot_at
from lakehouse.iceberg.refs.staged import files_at, rows_in
from lakehouse.iceberg.refs.swap import Swap, branch_at, stands_at, swap
from lakehouse.iceberg.refs.tag import add_tag
from lakehouse.tables import TableName

KEPT = timedelta(days=7)
"""How long the head that a restore undid can be restored again."""
RESTORED = "restored/"
"""Prefix of the tags that keep it."""


@dataclass(frozen=True)
class RestorePlan:
    """What a restore would do.

    `undone` are snapshot ids, newest first; `forward`: it undoes a restore, so that these come back instead. Rows as
    the files hold them; times in UTC.
    """

    table: TableName
    from_id: int
    to_id: int
    committed_at: datetime
    forward: bool
    undone: tuple[int, ...]
    run_keys: tuple[str, ...]
    rows_before: int
    rows_after: int
    files_before: int
    files_after: int
    progress_before: Progress
    progress_after: Progress


def plan_restore(
    table: IcebergTable, name: TableName, *, to: At | None = None, before_run: str | None = None
) -> RestorePlan:
    """What it takes to bring main to a snapshot, time or tag, or to before a run; nothing is changed.

    Raises SnapshotMissing, BranchMissing, QueryError for an unknown target, CommitError for one that is neither a past
    of main nor what a restore has undone, or whose progress is not known any more.
    """
    metadata = table.metadata
    main = metadata.current_snapshot()
    if main is None:
        raise SnapshotMissing(f"{name} was never written to", remedy="There is nothing to restore.")
    if (to is None) == (before_run is None):
        raise CommitError(f"a restore of {name} needs one target", remedy="Name a snapshot, a time, a tag or a run.")
    target = main if to is None else snapshot_at(name, metadata, to)
    if before_run is not None:
        target = _before(name, metadata, main, before_run)
    if target is None:
        raise SnapshotMissing(f"{name} was never written to", remedy="There is nothing to restore.")
    forward, between = _way(name, metadata, main, target)
    here, there = (files_at(snapshot, table.io) for snapshot in (main, target))
    keys = [summary_of(snapshot).get(RUN_KEY) for snapshot in between]
    return RestorePlan(
        table=name,
        from_id=main.snapshot_id,
        to_id=target.snapshot_id,
        committed_at=datetime.fromtimestamp(target.timestamp_ms / 1000, UTC),
        forward=forward,
        undone=tuple(snapshot.snapshot_id for snapshot in between),
        run_keys=tuple(dict.fromkeys(key for key in keys if key is not None)),
        rows_before=rows_in(here),
        rows_after=rows_in(there),
        files_before=len(here),
        files_after=len(there),
        progress_before=progress_as_of(metadata, main),
        progress_after=progress_as_of(metadata, target),
    )


def restore(table: IcebergTable, name: TableName, plan: RestorePlan) -> Commit:
    """Carry out a plan in one commit: main's ref and the floor of progress. The head that is left is tagged before.

    Done before, it does nothing. The commit counts rows that came and went. Raises CommitConflict when main moved since
    the plan, CatalogError.
    """
    table.refresh()
    if _head_id(table.metadata) == plan.to_id:
        return nothing_new(name, MAIN, table.metadata.current_snapshot(), already_done=plan.from_id != plan.to_id)
    _refuse_moved(table.metadata, plan)
    commit = _told(table.metadata, plan)
    add_tag(table, name, f"{RESTORED}{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}", plan.from_id, max_age=KEPT)

    def planned(metadata: TableMetadata) -> Swap | None:
        if _head_id(metadata) == plan.to_id:
            return None
        _refuse_moved(metadata, plan)
        required: list[TableRequirement] = [stands_at(MAIN, plan.from_id)]
        updates: list[TableUpdate] = [branch_at(MAIN, plan.to_id)]
        floor = {**floor_properties(plan.progress_after), **_tombstones(metadata, plan.to_id)}
        if floor:
            updates.append(SetPropertiesUpdate(updates=floor))
        gone = sorted(key for key in metadata.properties if key.startswith(FLOOR) and key not in floor)
        if gone:
            # A scope that did not exist then has no progress again: its next load begins at the beginning.
            updates.append(RemovePropertiesUpdate(removals=gone))
            # PyIceberg fails on a property that is gone: another program may take it away in this moment.
            required += SafeCatalog.of(table).as_planned(metadata)
        return tuple(required), tuple(updates)

    swap(table, name, planned)
    return commit


def _before(name: TableName, metadata: TableMetadata, main: Snapshot, run_key: str) -> Snapshot:
    """The snapshot that a run's first one was built on."""
    for snapshot, parent in _pairs(metadata, main):
        if summary_of(snapshot).get(RUN_KEY) == run_key:
            if parent is None:
                raise SnapshotMissing(
                    f"there is no state of {name} before run {run_key!r}", remedy="Drop the table and load it anew."
                )
            return parent
    raise SnapshotMissing(
        f"run {run_key!r} wrote no snapshot that main of {name} has", remedy="Choose one of `lakehouse table show`."
    )


def _pairs(metadata: TableMetadata, main: Snapshot) -> Iterator[tuple[Snapshot, Snapshot | None]]:
    """Each snapshot with the one before it, oldest first: a run that wrote twice is undone from its first write on."""
    past = list(history(metadata, main))
    yield from reversed(list(zip(past, [*past[1:], None], strict=True)))


def _way(
    name: TableName, metadata: TableMetadata, main: Snapshot, target: Snapshot
) -> tuple[bool, tuple[Snapshot, ...]]:
    """Whether the target lies ahead, and the snapshots between, newest first. Raises CommitError."""
    for forward, newer, older in ((False, main, target), (True, target, main)):
        # Ahead of main lie branches too, which no audit has seen: only what main has shown before may come back.
        shown = {entry.snapshot_id for entry in metadata.snapshot_log}
        if forward and target.snapshot_id not in shown:
            continue
        between: list[Snapshot] = []
        for snapshot in history(metadata, newer):
            if snapshot.snapshot_id == older.snapshot_id:
                return forward, tuple(between)
            between.append(snapshot)
    raise CommitError(
        f"snapshot {target.snapshot_id} is no past of main of {name}",
        expected="a snapshot that main is built on, or the head that a restore has undone while nothing came since",
        remedy="Choose one of `lakehouse table show`. A branch comes to main by being published.",
    )


def _told(metadata: TableMetadata, plan: RestorePlan) -> Commit:
    between = [describe(plan.table, MAIN, past) for past in map(metadata.snapshot_by_id, plan.undone) if past]
    commit = merged(between, operation="restore", snapshot_id=plan.to_id, parent_id=plan.from_id)
    if plan.forward:
        return commit
    return replace(
        commit,
        rows_added=commit.rows_removed,
        rows_removed=commit.rows_added,
        files_added=commit.files_removed,
        files_removed=commit.files_added,
        bytes_added=0,
    )


def _refuse_moved(metadata: TableMetadata, plan: RestorePlan) -> None:
    if _head_id(metadata) != plan.from_id:
        raise CommitConflict(
            f"main of {plan.table} moved since the restore was planned",
            expected=f"main at {plan.from_id}",
            found=f"main at {_head_id(metadata)}",
            remedy="Nothing was restored. Plan again.",
        )


def _tombstones(metadata: TableMetadata, to_id: int) -> dict[str, str]:
    """The property that names the deleted keys of then; as it is, where no snapshot tells them any more."""
    if TOMBSTONES not in metadata.properties:
        return {}
    return {TOMBSTONES: sidecar_at(metadata, metadata.snapshot_by_id(to_id)) or NONE}


def _head_id(metadata: TableMetadata) -> int | None:
    return metadata.current_snapshot_id
