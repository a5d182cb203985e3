"""What a table keeps besides its newest rows, and how large its files shall be: figures from the metadata file alone.

What of it may go is decided by an expiry.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pyiceberg.table import TableProperties
from pyiceberg.table.metadata import TableMetadata

from lakehouse.iceberg.refs.branch import branches
from lakehouse.iceberg.refs.tag import LEASE, tags


@dataclass(frozen=True)
class Holdings:
    """Snapshots of all branches and tags, and the refs beside main; writers close a file at `target_file_bytes`."""

    snapshots: int
    oldest_snapshot_at: datetime | None
    branches: int
    tags: int
    leases: int
    target_file_bytes: int


def holdings_of(metadata: TableMetadata) -> Holdings:
    """The figures. Refs that have outlived their age count as absent."""
    oldest = min((snapshot.timestamp_ms for snapshot in metadata.snapshots), default=None)
    named = tags(metadata)
    leases = sum(tag.startswith(LEASE) for tag in named)
    target = metadata.properties.get(
        TableProperties.WRITE_TARGET_FILE_SIZE_BYTES, TableProperties.WRITE_TARGET_FILE_SIZE_BYTES_DEFAULT
    )
    return Holdings(
        snapshots=len(metadata.snapshots),
        oldest_snapshot_at=None if oldest is None else datetime.fromtimestamp(oldest / 1000, UTC),
        branches=len(branches(metadata)),
        tags=len(named) - leases,
        leases=leases,
        target_file_bytes=int(target),
    )
