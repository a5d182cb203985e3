"""Which data files two snapshots of one history do not share: what has to be read to tell the changes between them.

How the rows of those files are compared is `net.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pyiceberg.io import FileIO
from pyiceberg.manifest import ManifestContent, ManifestEntryStatus
from pyiceberg.table import FileScanTask, IncrementalAppendScan
from pyiceberg.table.snapshots import Operation, Snapshot

from lakehouse.errors import SnapshotMissing
from lakehouse.iceberg.commits.progress import history
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.iceberg.reads.scan import State, planned

_ADDITIVE = frozenset({Operation.APPEND, Operation.REPLACE})


@dataclass(frozen=True)
class Delta:
    """Files with rows that only the later state has (`added`), and that only the earlier has (`removed`).

    `append_only`: every snapshot between only added rows, so `removed` is empty and each row of `added` is new.
    Otherwise rows that were carried from one file to another are on both sides.
    """

    append_only: bool
    added: tuple[FileScanTask, ...] = ()
    removed: tuple[FileScanTask, ...] = ()


def delta_of(state: State, since: int) -> Delta:
    """What came after snapshot `since`, up to the state.

    Raises SnapshotMissing, QueryError for equality deletes, CatalogError.
    """
    with catalog_errors(f"comparing snapshots of {state.name}"):
        between, start = _between(state, since)
        if all(_operation(snapshot) in _ADDITIVE for snapshot in between):
            return Delta(append_only=True, added=_appended(state, since) if between else ())
        if start is None:
            raise _expired(state, since)
        before = {_identity(task): task for task in planned(State(state.name, state.table, start, state.schema))}
        after = {_identity(task): task for task in planned(state)}
        removed = {task.file.file_path: task for key, task in before.items() if key not in after}
        added = {task.file.file_path: task for key, task in after.items() if key not in before}
        _strike(between, state.table.io, removed, added)
        return Delta(append_only=False, added=tuple(added.values()), removed=tuple(removed.values()))


def _between(state: State, since: int) -> tuple[list[Snapshot], Snapshot | None]:
    """The snapshots after `since`, oldest first, and that of `since` unless it has expired."""
    found: list[Snapshot] = []
    for snapshot in history(state.metadata, state.snapshot):
        if snapshot.snapshot_id == since:
            return found[::-1], snapshot
        found.append(snapshot)
    if found and found[-1].parent_snapshot_id == since:
        return found[::-1], None
    if state.metadata.snapshot_by_id(since) is None:
        raise _expired(state, since)
    raise SnapshotMissing(
        f"snapshot {since} is not in the history of what is read of {state.name}: the table was restored, or it is"
        " another branch's",
        found=f"the head {state.snapshot.snapshot_id if state.snapshot else None}",
        remedy="Read the whole table once, and go on from the snapshot that was read.",
    )


def _expired(state: State, since: int) -> SnapshotMissing:
    return SnapshotMissing(
        f"the changes of {state.name} since snapshot {since} cannot be told: it has expired, or never was",
        remedy="Read the whole table once, and go on from the snapshot that was read; or keep snapshots for longer"
        " (`upkeep: {keepSnapshotsDays: ...}`).",
    )


def _appended(state: State, since: int) -> tuple[FileScanTask, ...]:
    """The files of every append. A `replace` has the same rows in other files, so what it replaced is read instead."""
    scan = IncrementalAppendScan(
        state.metadata,
        state.table.io,
        from_snapshot_id=since,
        to_snapshot_id=state.snapshot.snapshot_id if state.snapshot else None,
    )
    return tuple(scan.plan_files())


def _operation(snapshot: Snapshot) -> Operation | None:
    return snapshot.summary.operation if snapshot.summary else None


def _identity(task: FileScanTask) -> tuple[str, frozenset[str]]:
    """A file shows other rows once other delete files apply to it."""
    return task.file.file_path, frozenset(delete.file_path for delete in task.delete_files)


def _strike(
    between: Sequence[Snapshot], io: FileIO, removed: dict[str, FileScanTask], added: dict[str, FileScanTask]
) -> None:
    """Leave out what only compaction moved: inputs all from before, outputs all still there, no deletes on the way."""
    replacing = [snapshot for snapshot in between if _operation(snapshot) is Operation.REPLACE]
    if not replacing or any(_deletes(snapshot, io) for snapshot in between):
        return
    groups: list[tuple[set[str], set[str]]] = []
    for snapshot in replacing:
        inputs, outputs = _moved(snapshot, io)
        for earlier in [group for group in groups if group[1] & inputs]:
            # Compacted again: one move from the first inputs to the last outputs.
            groups.remove(earlier)
            inputs, outputs = earlier[0] | (inputs - earlier[1]), outputs | (earlier[1] - inputs)
        groups.append((inputs, outputs))
    for inputs, outputs in groups:
        if inputs <= removed.keys() and outputs <= added.keys():
            _drop(removed, inputs)
            _drop(added, outputs)


def _drop(tasks: dict[str, FileScanTask], paths: Iterable[str]) -> None:
    for path in paths:
        del tasks[path]


def _deletes(snapshot: Snapshot, io: FileIO) -> bool:
    return any(
        manifest.content == ManifestContent.DELETES and manifest.added_snapshot_id == snapshot.snapshot_id
        for manifest in snapshot.manifests(io)
    )


def _moved(snapshot: Snapshot, io: FileIO) -> tuple[set[str], set[str]]:
    """Paths of the files that a snapshot removed, and of those that it added."""
    entries = [
        entry
        for manifest in snapshot.manifests(io)
        if manifest.added_snapshot_id == snapshot.snapshot_id
        for entry in manifest.fetch_manifest_entry(io, discard_deleted=False)
        if entry.snapshot_id == snapshot.snapshot_id
    ]
    return (
        {entry.data_file.file_path for entry in entries if entry.status == ManifestEntryStatus.DELETED},
        {entry.data_file.file_path for entry in entries if entry.status == ManifestEntryStatus.ADDED},
    )
