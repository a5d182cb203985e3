"""Branches: making one, giving one up, and which there are.

How one becomes main is `publish.py`; what is on it beside main, `staged.py`.
"""

from __future__ import annotations

import time
from datetime import timedelta

from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRef, SnapshotRefType
from pyiceberg.table.update import RemoveSnapshotRefUpdate

from lakehouse.errors import BranchMissing, CommitError
from lakehouse.iceberg.commits.commit import commit_append
from lakehouse.iceberg.commits.intent import Intent
from lakehouse.iceberg.commits.progress import MAIN
from lakehouse.iceberg.refs.swap import Swap, branch_at, stands_at, swap
from lakehouse.tables import TableName

SCRATCH = "rebase/"
"""Prefix of the refs that a rebase builds on (`rebase.py`); they are nobody's branches."""
_MILLISECOND = timedelta(milliseconds=1)


def create_branch(table: IcebergTable, name: TableName, branch: str) -> None:
    """Make a branch at main's head; one that is there stays as it is. An empty table gets an empty snapshot first.

    Raises BranchMissing when the branch is not there after all, CommitError when the name is a tag's, CommitConflict,
    CatalogError.
    """
    refuse_main(branch)
    if table.metadata.current_snapshot() is None:
        commit_append(table, Intent(name, run_key=None), ())

    def plan(metadata: TableMetadata) -> Swap | None:
        start = metadata.current_snapshot()
        if branch in metadata.refs or start is None:
            return None
        return (stands_at(branch, None),), (branch_at(branch, start.snapshot_id),)

    swap(table, name, plan)
    # PyIceberg's retry drops refs without a word, some catalogs lose them, and another process may have discarded it.
    table.refresh()
    made = table.metadata.refs.get(branch)
    if made is None:
        raise BranchMissing(f"branch {branch!r} of {name} was made and is not there", remedy="Run again.")
    if made.snapshot_ref_type is not SnapshotRefType.BRANCH:
        raise CommitError(f"{branch!r} is a tag of {name}", remedy="Name the branch otherwise.")


def discard(table: IcebergTable, name: TableName, branch: str, *, only_at: int | None = None) -> None:
    """Drop a branch; nothing happens if it is not there, or not at the snapshot `only_at`.

    Raises CommitError for a tag, CommitConflict, CatalogError.
    """
    refuse_main(branch)
    remove_ref(table, name, branch, SnapshotRefType.BRANCH, only_at=only_at)


def branches(metadata: TableMetadata) -> tuple[str, ...]:
    """The branches beside main, by name."""
    found = live_refs(metadata, SnapshotRefType.BRANCH) - {MAIN}
    return tuple(sorted(branch for branch in found if not branch.startswith(SCRATCH)))


def remove_ref(
    table: IcebergTable, name: TableName, ref: str, kind: SnapshotRefType, *, only_at: int | None = None
) -> None:
    """Drop a branch or tag, wherever it points now unless `only_at` says; nothing happens if it is not there.

    Raises CommitError for a ref of the other kind.
    """

    def plan(metadata: TableMetadata) -> Swap | None:
        found = metadata.refs.get(ref)
        if found is None or only_at not in {None, found.snapshot_id}:
            return None
        if found.snapshot_ref_type is not kind:
            raise CommitError(
                f"{ref!r} of {name} is no {kind.value}", remedy=f"It is a {found.snapshot_ref_type.value}."
            )
        return (stands_at(ref, found.snapshot_id),), (RemoveSnapshotRefUpdate(ref_name=ref),)

    swap(table, name, plan)


def live_refs(metadata: TableMetadata, kind: SnapshotRefType) -> frozenset[str]:
    """The refs of a kind that have not outlived their age: those that have count as absent before expiry drops them."""
    return frozenset(
        name for name, ref in metadata.refs.items() if ref.snapshot_ref_type is kind and not outlived(metadata, ref)
    )


def outlived(metadata: TableMetadata, ref: SnapshotRef) -> bool:
    """Whether a ref is older than it may become, counted from its snapshot's time as expiry counts it."""
    return ref.max_ref_age_ms is not None and age_of(metadata, ref.snapshot_id) > ref.max_ref_age_ms * _MILLISECOND


def age_of(metadata: TableMetadata, snapshot_id: int) -> timedelta:
    """How long ago a snapshot was made, by this machine's clock; never negative."""
    snapshot = metadata.snapshot_by_id(snapshot_id)
    made_ms = snapshot.timestamp_ms if snapshot else 0
    return max(timedelta(milliseconds=time.time_ns() // 1_000_000 - made_ms), timedelta())


def refuse_main(branch: str) -> None:
    """Raise CommitError for main, which is no branch to make, publish or discard."""
    if branch == MAIN:
        raise CommitError("main is no branch to make, publish or discard", remedy="Name another branch.")
