"""What a branch holds beyond main: where it forked, its own snapshots and files, and what main did since.

Nothing is moved here: `publish.py`, `rebase.py` and `publish_windows.py` decide what follows from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, DataFileContent, ManifestContent, ManifestEntryStatus
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation, Snapshot

from lakehouse.errors import BranchMissing
from lakehouse.iceberg.commits.outcome import MERGE, PROOF
from lakehouse.iceberg.commits.progress import head_of, history, summary_of
from lakehouse.iceberg.reads.manifests import entries_in
from lakehouse.tables import TableName

PUBLISHED = "lakehouse.published-windows"
"""The key in the summary of a snapshot of main that took some windows from a branch (a JSON object)."""


@dataclass(frozen=True)
class Staged:
    """A branch beside main. `ahead` and `behind` are newest first: the snapshots of one that the other has not.

    `fork` is the snapshot of main that the branch was made at; None when it has expired, or main's way back to it has.
    `taken_back`: main was restored to a state before the fork, so that the branch stands on work that was undone.
    """

    main: Snapshot
    head: Snapshot
    fork: Snapshot | None
    ahead: tuple[Snapshot, ...]
    behind: tuple[Snapshot, ...]
    taken_back: bool

    @property
    def is_on_main(self) -> bool:
        """Whether main already holds all of the branch."""
        return self.fork is not None and not self.ahead and not self.taken_back

    @property
    def is_next(self) -> bool:
        """Whether main can move to the branch's head and lose nothing."""
        return self.fork is not None and self.fork.snapshot_id == self.main.snapshot_id

    @property
    def same_rows(self) -> bool:
        """Whether main moved by proved rewrites alone, so that the rows below the branch are those of its audit."""
        return self.fork is not None and not self.taken_back and all(_proved(snapshot) for snapshot in self.behind)

    @property
    def appends_only(self) -> bool:
        """Whether the branch added files and took none away. Not by a merge: main may have got a key of it since."""
        return all(
            _operation(snapshot) is Operation.APPEND and MERGE not in summary_of(snapshot) for snapshot in self.ahead
        )

    @property
    def partly_published(self) -> bool:
        """Whether main took windows of a branch since the fork."""
        return any(PUBLISHED in summary_of(snapshot) for snapshot in self.behind)


def staged(metadata: TableMetadata, name: TableName, branch: str) -> Staged:
    """Compare a branch with main. Raises BranchMissing, also when the table has no snapshot at all."""
    head, main = head_of(metadata, branch), metadata.current_snapshot()
    if head is None or main is None:
        raise BranchMissing(f"{name} has no snapshot to publish", remedy="Write to the branch first.")
    line = list(history(metadata, main))
    on_main = {snapshot.snapshot_id for snapshot in line}
    # A branch begins at a head of main. One that main no longer has was taken back by a restore: publishing the branch
    # by its ancestors alone would bring back what was undone.
    shown = {entry.snapshot_id for entry in metadata.snapshot_log}
    ahead: list[Snapshot] = []
    fork = None
    for snapshot in history(metadata, head):
        if snapshot.snapshot_id in on_main or snapshot.snapshot_id in shown:
            fork = snapshot
            break
        ahead.append(snapshot)
    below = {snapshot.snapshot_id for snapshot in history(metadata, fork)}
    behind = tuple(snapshot for snapshot in history(metadata, main) if snapshot.snapshot_id not in below)
    if fork is not None and fork.snapshot_id not in on_main and _sequence(line[-1]) > _sequence(fork):
        # What main did right after the fork has expired: it may have taken windows of the branch already.
        fork = None
    taken_back = fork is not None and fork.snapshot_id not in on_main
    return Staged(main, head, fork, tuple(ahead), behind, taken_back)


def added_by(snapshot: Snapshot, io: FileIO) -> tuple[DataFile, ...]:
    """The data files that one snapshot added."""
    return tuple(
        entry.data_file
        for manifest in snapshot.manifests(io)
        if manifest.added_snapshot_id == snapshot.snapshot_id
        for entry in entries_in(io, manifest)
        if entry.status == ManifestEntryStatus.ADDED and entry.data_file.content == DataFileContent.DATA
    )


def files_at(snapshot: Snapshot | None, io: FileIO) -> frozenset[DataFile]:
    """Every live data file of a snapshot."""
    return frozenset(
        entry.data_file
        for manifest in (snapshot.manifests(io) if snapshot else ())
        for entry in entries_in(io, manifest)
        if entry.data_file.content == DataFileContent.DATA
    )


def hides_rows(beside: Staged, io: FileIO) -> bool:
    """Whether the branch, or main since the fork, got delete files: then data files alone do not tell the rows."""
    since = {snapshot.snapshot_id for snapshot in (*beside.ahead, *beside.behind)}
    return any(
        manifest.content == ManifestContent.DELETES and manifest.added_snapshot_id in since
        for head in (beside.head, beside.main)
        for manifest in head.manifests(io)
    )


def rows_in(files: Iterable[DataFile]) -> int:
    """Rows that files hold, before any deletes of other engines."""
    return sum(file.record_count for file in files)


def _sequence(snapshot: Snapshot) -> int:
    return snapshot.sequence_number or 0


def _operation(snapshot: Snapshot) -> Operation | None:
    return snapshot.summary.operation if snapshot.summary else None


def _proved(snapshot: Snapshot) -> bool:
    return _operation(snapshot) is Operation.REPLACE and PROOF in summary_of(snapshot)
