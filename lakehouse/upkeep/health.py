"""How a table is doing: figures from metadata alone, no row is read. What follows from them is `plan.py`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lakehouse.iceberg import ExpiryPlan, Lake, LastReads, LiveFile, held_for_consumers
from lakehouse.tables import TableName
from lakehouse.upkeep.policy import Policy


@dataclass(frozen=True)
class Health:
    """Figures of main, and of all that is kept besides.

    `rows` are those of the data files; at most `deleted_rows` of them are hidden by position delete files. Of the
    `files`, `small_files` are below what the policy calls small. `snapshots` are those of all branches and tags, of
    which expiry would remove `expirable_snapshots`. Bytes on disk, of live data files and of main's manifests.
    """

    table: TableName
    files: int
    bytes: int
    rows: int
    small_files: int
    delete_files: int
    deleted_rows: int
    partitions: int
    manifests: int
    manifest_bytes: int
    snapshots: int
    oldest_snapshot_at: datetime | None
    branches: int
    tags: int
    leases: int
    expirable_snapshots: int
    target_bytes: int


@dataclass(frozen=True)
class Look:
    """What one look at a table's metadata shows: its live files, what an expiry would do, and the figures."""

    files: tuple[LiveFile, ...]
    expiry: ExpiryPlan
    health: Health


def health(lake: Lake, name: TableName, policy: Policy, *, now: datetime, reads: LastReads | None = None) -> Health:
    """The figures of a table. Raises TableMissing, CatalogError."""
    return look_at(lake, name, policy, now=now, reads=reads).health


def look_at(lake: Lake, name: TableName, policy: Policy, *, now: datetime, reads: LastReads | None = None) -> Look:
    """Look at a table: its metadata and each of its manifests are read once. Raises TableMissing, CatalogError.

    `reads`: one for all tables that are looked at together; else every table of the lake is opened for each of them.
    """
    table = lake.look(name)
    files, manifests, holdings = table.live_files(), table.manifests(), table.holdings()
    expiry = table.plan_expiry(now=now, audits_kept_for=policy.audits_kept_for)
    if expiry.snapshots:
        # Asked only now, for it takes a look at every table of the lake.
        held = held_for_consumers(lake, name, now=now, at_most=policy.consumers_wait, reads=reads)
        expiry = table.plan_expiry(now=now, held=frozenset(held.values()), audits_kept_for=policy.audits_kept_for)
    figures = Health(
        table=name,
        files=len(files),
        bytes=sum(file.bytes for file in files),
        rows=sum(file.rows for file in files),
        small_files=sum(file.bytes < policy.small_below for file in files),
        delete_files=manifests.delete_files,
        deleted_rows=sum(file.deleted_rows for file in files),
        partitions=len({file.partition for file in files}),
        manifests=manifests.count,
        manifest_bytes=manifests.bytes,
        snapshots=holdings.snapshots,
        oldest_snapshot_at=holdings.oldest_snapshot_at,
        branches=holdings.branches,
        tags=holdings.tags,
        leases=holdings.leases,
        expirable_snapshots=len(expiry.snapshots),
        target_bytes=policy.target_bytes,
    )
    return Look(files, expiry, figures)
