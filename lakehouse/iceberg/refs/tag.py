"""Tags: names that keep a snapshot from expiry; and leases, tags that end by themselves.

Branches are `branch.py`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRefType

from lakehouse.errors import BranchMissing, CommitConflict, CommitError, SnapshotMissing
from lakehouse.iceberg.commits.progress import MAIN
from lakehouse.iceberg.refs.at import At, snapshot_at
from lakehouse.iceberg.refs.branch import age_of, live_refs, outlived, refuse_main, remove_ref
from lakehouse.iceberg.refs.swap import Swap, stands_at, swap, tag_at
from lakehouse.tables import TableName

_log = structlog.get_logger(__name__)

LEASE = "lease/"
"""Prefix of the tags that readers and audits hold while they work."""


@dataclass(frozen=True)
class Lease:
    """A snapshot that stays readable while the lease is held: expiry keeps what `tag` names."""

    tag: str
    snapshot_id: int


def add_tag(table: IcebergTable, name: TableName, tag: str, at: At = MAIN, *, max_age: timedelta | None = None) -> int:
    """Name a snapshot; from then on `max_age` long, None for ever. Gives the snapshot's id.

    A tag that names it already stays as it is; one that has outlived its age is taken over. Raises CommitError when the
    name is a branch's or names another snapshot, SnapshotMissing, BranchMissing for an unknown `at` or when the catalog
    lost the tag, CommitConflict, CatalogError.
    """
    refuse_main(tag)
    tagged: list[int] = []

    def plan(metadata: TableMetadata) -> Swap | None:
        snapshot = snapshot_at(name, metadata, at)
        if snapshot is None:
            raise SnapshotMissing(f"{name} has no snapshot to name {tag!r}", remedy="Write to it first.")
        tagged[:] = [snapshot.snapshot_id]
        there = metadata.refs.get(tag)
        if there is not None and not outlived(metadata, there):
            if there.snapshot_ref_type is SnapshotRefType.TAG and there.snapshot_id == snapshot.snapshot_id:
                return None
            raise CommitError(
                f"{name} has a {there.snapshot_ref_type.value} {tag!r} already",
                found=f"it is at {there.snapshot_id}",
                remedy="Choose another name, or remove that one first.",
            )
        # Readers of the format count a ref's age from its snapshot's time, so an old snapshot needs as much more.
        age = None if max_age is None else age_of(metadata, snapshot.snapshot_id) + max_age
        return (stands_at(tag, there.snapshot_id if there else None),), (
            tag_at(tag, snapshot.snapshot_id, max_age=age),
        )

    swap(table, name, plan)
    table.refresh()
    made = table.metadata.refs.get(tag)
    if made is None or made.snapshot_id != tagged[0]:
        raise BranchMissing(f"tag {tag!r} of {name} was made and is not there", remedy="Run again.")
    return tagged[0]


def remove_tag(table: IcebergTable, name: TableName, tag: str) -> None:
    """Take a name away; nothing happens if it is not there. Raises CommitError for a branch, CommitConflict."""
    refuse_main(tag)
    remove_ref(table, name, tag, SnapshotRefType.TAG)


def tags(metadata: TableMetadata) -> Mapping[str, int]:
    """Snapshot id by tag, leases too; those that have outlived their age count as absent."""
    return {tag: metadata.refs[tag].snapshot_id for tag in sorted(live_refs(metadata, SnapshotRefType.TAG))}


@contextmanager
def held(table: IcebergTable, name: TableName, at: At, *, max_age: timedelta) -> Iterator[Lease]:
    """Hold a lease for the time of the block; a process that dies in it leaves the tag, which ends by its age.

    Raises what `add_tag` raises.
    """
    tag = f"{LEASE}{uuid.uuid4().hex[:12]}"
    lease = Lease(tag, add_tag(table, name, tag, at, max_age=max_age))
    try:
        yield lease
    finally:
        try:
            remove_tag(table, name, tag)
        except CommitConflict:
            # What was read is read, and the lease ends by itself.
            _log.warning("lease left to its age", table=str(name), tag=tag)
