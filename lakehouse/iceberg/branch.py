"""Branches: making one, publishing it to main, giving it up.

Each is one compare-and-swap of one ref: PyIceberg keeps only one requirement of a type, so no commit asserts two refs.
What is on a branch is `commit.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import (
    AssertRefSnapshotId,
    RemoveSnapshotRefUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableRequirement,
    TableUpdate,
)

from lakehouse.errors import BranchMissing, CommitConflict, CommitError, PublishConflict
from lakehouse.iceberg.commit import commit_append
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.iceberg.intent import Intent
from lakehouse.iceberg.outcome import Commit, describe, merged, nothing_new
from lakehouse.iceberg.progress import MAIN, floor_properties, head_of, history, progress_at
from lakehouse.tables import TableName

_log = structlog.get_logger(__name__)

_ATTEMPTS = 20
_WAIT_S = 0.02

Swap = tuple[tuple[TableRequirement, ...], tuple[TableUpdate, ...]]


def create_branch(table: IcebergTable, name: TableName, branch: str) -> None:
    """Make a branch at main's head; one that is there stays as it is. An empty table gets an empty snapshot first.

    Raises BranchMissing when the branch is not there after all, CommitConflict, CatalogError.
    """
    _refuse_main(branch)
    if table.metadata.current_snapshot() is None:
        commit_append(table, Intent(name, run_key=None), ())

    def swap(metadata: TableMetadata) -> Swap | None:
        start = metadata.current_snapshot()
        if branch in metadata.refs or start is None:
            return None
        made = _ref(branch, start.snapshot_id)
        return (AssertRefSnapshotId(ref=branch, snapshot_id=None),), (made,)

    _swap(table, name, swap)
    # PyIceberg's retry drops refs without a word; and another process may have discarded the branch.
    table.refresh()
    head_of(table.metadata, branch)


def publish(table: IcebergTable, name: TableName, branch: str) -> Commit:
    """Move main to the branch's head if main has not moved since, and the floor of progress with it; drop the branch.

    The commit counts everything that came to main. A branch that main already holds is dropped, `already_done`.
    Raises PublishConflict (the branch is kept), BranchMissing, CommitConflict, CatalogError.
    """
    _refuse_main(branch)
    done: list[Commit] = []

    def swap(metadata: TableMetadata) -> Swap | None:
        done[:] = [_publication(metadata, name, branch)]
        if done[0].already_done:
            return None
        moved = _ref(MAIN, done[0].snapshot_id)
        floor = floor_properties(progress_at(metadata, head_of(metadata, branch)))
        updates: tuple[TableUpdate, ...] = (moved, SetPropertiesUpdate(updates=floor)) if floor else (moved,)
        return (AssertRefSnapshotId(ref=MAIN, snapshot_id=done[0].parent_id),), updates

    _swap(table, name, swap)
    try:
        discard(table, name, branch)
    except CommitConflict:
        # The rows are on main, which is what was asked for; the next publish or upkeep drops the ref.
        _log.warning("published branch left behind", table=str(name), branch=branch)
    return done[0]


def discard(table: IcebergTable, name: TableName, branch: str) -> None:
    """Drop a branch; nothing happens if it is not there. Raises CommitConflict, CatalogError."""
    _refuse_main(branch)

    def swap(metadata: TableMetadata) -> Swap | None:
        if branch not in metadata.refs:
            return None
        head = AssertRefSnapshotId(ref=branch, snapshot_id=metadata.refs[branch].snapshot_id)
        return (head,), (RemoveSnapshotRefUpdate(ref_name=branch),)

    _swap(table, name, swap)


def branches(metadata: TableMetadata) -> tuple[str, ...]:
    """The branches beside main, by name."""
    kinds = metadata.refs.items()
    return tuple(sorted(ref for ref, at in kinds if at.snapshot_ref_type is SnapshotRefType.BRANCH and ref != MAIN))


def _publication(metadata: TableMetadata, name: TableName, branch: str) -> Commit:
    """What a publish would bring to main. Raises PublishConflict, BranchMissing."""
    head, main = head_of(metadata, branch), metadata.current_snapshot()
    if head is None or main is None:
        raise BranchMissing(f"{name} has no snapshot to publish", remedy="Write to the branch first.")
    if any(past.snapshot_id == head.snapshot_id for past in history(metadata, main)):
        return nothing_new(name, MAIN, main, already_done=True)
    ahead: list[Snapshot] = []
    for snapshot in history(metadata, head):
        if snapshot.snapshot_id == main.snapshot_id:
            commits = [describe(name, MAIN, past) for past in ahead]
            return merged(commits, operation="publish", snapshot_id=head.snapshot_id, parent_id=main.snapshot_id)
        ahead.append(snapshot)
    raise PublishConflict(
        f"main of {name} moved since branch {branch!r} was made",
        expected="main's head among the branch's snapshots",
        found=f"main at {main.snapshot_id}",
        remedy="The branch is kept for inspection. Discard it and run again.",
    )


def _swap(table: IcebergTable, name: TableName, plan: Callable[[TableMetadata], Swap | None]) -> None:
    """Carry out the plan for the newest metadata; plan again when another commit came between."""
    for attempt in range(_ATTEMPTS):
        with catalog_errors(f"moving a branch of {name}"):
            table.refresh()
            swap = plan(table.metadata)
            if swap is None:
                return
            try:
                table.catalog.commit_table(table, *swap)
            except CommitFailedException as error:
                _log.debug("ref moved by another writer", table=str(name), attempt=attempt, answer=str(error))
                time.sleep(_WAIT_S * min(attempt + 1, 10))
            else:
                table.refresh()
                return
    raise CommitConflict(f"other writers were faster {_ATTEMPTS} times on {name}", remedy="Run again.")


def _ref(branch: str, snapshot_id: int | None) -> SetSnapshotRefUpdate:
    """A branch pointing at a snapshot, without limits of age: upkeep decides on those."""
    return SetSnapshotRefUpdate.model_validate({"ref-name": branch, "type": "branch", "snapshot-id": snapshot_id})


def _refuse_main(branch: str) -> None:
    if branch == MAIN:
        raise CommitError("main is no branch to make, publish or discard", remedy="Name another branch.")
