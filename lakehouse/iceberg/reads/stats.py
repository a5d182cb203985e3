"""Figures of a table, from its metadata alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFileContent, ManifestEntryStatus
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from lakehouse.errors import SnapshotMissing
from lakehouse.iceberg.commits.content import content_at, contents
from lakehouse.iceberg.commits.progress import PROGRESS, RUN_KEY, head_of, history, summary_of
from lakehouse.iceberg.reads.manifests import entries_in
from lakehouse.tables import Position

_TOTALS = ("total-records", "total-data-files", "total-files-size")


@dataclass(frozen=True)
class SnapshotInfo:
    """One snapshot. `committed_at` in UTC; `run_key` is None where another program wrote it.

    `sequence_number` orders the commits of a table over all its branches. `content_id`: the snapshot whose rows it
    holds, itself unless it changed none; None where nobody can tell any more.
    """

    id: int
    parent_id: int | None
    sequence_number: int
    committed_at: datetime
    operation: str
    run_key: str | None
    summary: Mapping[str, str]
    content_id: int | None

    @property
    def positions(self) -> Mapping[str, Position]:
        """How far each scope had come with it; nothing where another program wrote it."""
        return json.loads(self.summary.get(PROGRESS, "{}"))  # type: ignore[no-any-return]  # as `progress.py` wrote it


@dataclass(frozen=True)
class TableStats:
    """Size of a branch: live rows and data files, their bytes on disk, and the snapshots of its history."""

    rows: int
    files: int
    bytes: int
    snapshots: int
    last_commit_at: datetime | None


def snapshots_of(metadata: TableMetadata, branch: str) -> tuple[SnapshotInfo, ...]:
    """The history of a branch, newest first. Raises BranchMissing."""
    return history_of(metadata, head_of(metadata, branch))


def history_of(metadata: TableMetadata, head: Snapshot | None) -> tuple[SnapshotInfo, ...]:
    """What a head was built on, newest first, itself included."""
    rows_of = contents(metadata, head)
    return tuple(_info(snapshot, rows_of[snapshot.snapshot_id]) for snapshot in history(metadata, head))


def stats_of(metadata: TableMetadata, io: FileIO, branch: str) -> TableStats:
    """Figures of a branch. Rows that a foreign engine's delete files hide are still counted. Raises BranchMissing."""
    head = head_of(metadata, branch)
    if head is None:
        return TableStats(rows=0, files=0, bytes=0, snapshots=0, last_commit_at=None)
    summary = summary_of(head)
    rows, files, size = (
        (int(summary[key]) for key in _TOTALS) if all(key in summary for key in _TOTALS) else _counted(head, io)
    )
    return TableStats(
        rows=rows,
        files=files,
        bytes=size,
        snapshots=sum(1 for _ in history(metadata, head)),
        last_commit_at=_time(head),
    )


def _counted(head: Snapshot, io: FileIO) -> tuple[int, int, int]:
    """From the manifests, where another program left the totals out of the summary."""
    files = [
        entry.data_file
        for manifest in head.manifests(io)
        for entry in entries_in(io, manifest)
        if entry.data_file.content == DataFileContent.DATA
    ]
    return sum(file.record_count for file in files), len(files), sum(file.file_size_in_bytes for file in files)


def rows_added(metadata: TableMetadata, io: FileIO, snapshot_id: int) -> int:
    """Rows of the data files that a snapshot added, as its manifests record them. Raises SnapshotMissing."""
    snapshot = metadata.snapshot_by_id(snapshot_id)
    if snapshot is None:
        raise SnapshotMissing(
            f"there is no snapshot {snapshot_id} at {metadata.location}",
            remedy="It has expired: `ops.loads` has what a load of then published.",
        )
    return sum(
        entry.data_file.record_count
        for manifest in snapshot.manifests(io)
        if manifest.added_snapshot_id == snapshot_id
        for entry in entries_in(io, manifest)
        if entry.status == ManifestEntryStatus.ADDED and entry.data_file.content == DataFileContent.DATA
    )


def snapshot_info(metadata: TableMetadata, snapshot: Snapshot) -> SnapshotInfo:
    """What is told of a snapshot."""
    return _info(snapshot, content_at(metadata, snapshot))


def _info(snapshot: Snapshot, content_id: int | None) -> SnapshotInfo:
    summary = summary_of(snapshot)
    return SnapshotInfo(
        id=snapshot.snapshot_id,
        parent_id=snapshot.parent_snapshot_id,
        sequence_number=snapshot.sequence_number or 0,
        committed_at=_time(snapshot),
        operation=snapshot.summary.operation.value if snapshot.summary else "unknown",
        run_key=summary.get(RUN_KEY),
        summary=summary,
        content_id=content_id,
    )


def _time(snapshot: Snapshot) -> datetime:
    return datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)
