"""Progress at a snapshot of the past, for which the floor properties do not answer: they speak of main's head.

Progress at the head of a ref is `progress.py`.
"""

from __future__ import annotations

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from lakehouse.errors import CommitError
from lakehouse.iceberg.commits.progress import FLOOR, PROGRESS, Progress, history, progress_at, summary_of


def progress_as_of(metadata: TableMetadata, snapshot: Snapshot | None) -> Progress:
    """Progress of every scope when a snapshot was made; none before the first one.

    Raises CommitError when no snapshot that would tell is kept.
    """
    oldest = None
    for past in history(metadata, snapshot):
        if PROGRESS in summary_of(past):
            return progress_at(metadata, past)
        oldest = past
    if oldest is None or _first_of_table(oldest) or not any(key.startswith(FLOOR) for key in metadata.properties):
        return {}
    if snapshot is not None and snapshot.snapshot_id == metadata.current_snapshot_id:
        return progress_at(metadata, snapshot)
    raise CommitError(
        f"it is not known any more how far loads had come at snapshot {snapshot.snapshot_id if snapshot else None}",
        expected="a snapshot of this project at it or before it",
        found=f"none kept back to {oldest.snapshot_id}",
        remedy="Choose a later snapshot, or run the work again.",
    )


def _first_of_table(snapshot: Snapshot) -> bool:
    """Expiry takes the parent's id away, so only the sequence number tells the first snapshot (Iceberg spec, v2)."""
    return (snapshot.sequence_number or 0) <= 1
