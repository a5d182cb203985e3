"""Which days of the window column changed, and which there are, told from metadata alone: no row is read.

Changes are asked for by sequence number, which outlives the snapshot that had it. Changes row by row are `changes.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property

from pyiceberg.manifest import DataFile, DataFileContent, ManifestContent, ManifestEntryStatus
from pyiceberg.table.delete_file_index import _referenced_data_file_path
from pyiceberg.table.snapshots import Operation, Snapshot
from pyiceberg.types import NestedField

from lakehouse.errors import QueryError, SnapshotMissing
from lakehouse.iceberg.commits.progress import history
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.iceberg.reads.manifests import entries_in
from lakehouse.iceberg.reads.scan import State
from lakehouse.iceberg.selection.window import NO_DAY, days_of, window_column


@dataclass(frozen=True)
class ChangedDays:
    """The days that may hold changed rows, in order. Whole files count, so a day beside a changed row may be there.

    `complete` is False when snapshots in question have expired: a day that lost its last file then is not among them.
    `sequences`: the number of each day's newest change.
    """

    days: tuple[date, ...]
    complete: bool
    sequences: Mapping[date, int] = field(default_factory=dict)


def changed_days(state: State, above: int) -> ChangedDays:
    """The days that hold files or deletes with a data sequence number above one that was read before.

    Compaction gives its files the highest number of those it replaces, so it changes no day. Raises CommitError for a
    table without a window column, QueryError when a file's days are not in the metadata, and SnapshotMissing when the
    snapshot of that number is not in the state's history, as after a restore.
    """
    column = window_column(state.name, state.metadata)
    later, complete = _later(state, above)
    found: dict[date, int] = {}
    with catalog_errors(f"reading manifests of {state.name}"):
        days = _Days(state, column)
        for file, number in _files(state, later, above):
            for day in days.of(file):
                found[day] = max(number, found.get(day, 0))
    return ChangedDays(tuple(sorted(found)), complete, found)


def live_days(state: State) -> tuple[date, ...]:
    """The days that live data files hold, in order: by whole files, so that all rows of one may be deleted.

    Raises CommitError for a table without a window column, QueryError when a file's days are not in the metadata.
    """
    column = window_column(state.name, state.metadata)
    found: set[date] = set()
    days = _Days(state, column)
    with catalog_errors(f"reading manifests of {state.name}"):
        for manifest in state.snapshot.manifests(state.table.io) if state.snapshot else ():
            if manifest.content == ManifestContent.DATA:
                for entry in entries_in(state.table.io, manifest):
                    found.update(days.of(entry.data_file))
    return tuple(sorted(found))


class _Days:
    """The days that files hold, or that delete files are about, from metadata."""

    def __init__(self, state: State, column: NestedField) -> None:
        self._state = state
        self._column = column

    def of(self, file: DataFile) -> Iterator[date]:
        """Those of one file. Raises QueryError when they are not told."""
        days = days_of(self._state.metadata, self._column, file)
        if (
            days is None
            and (about := _referenced_data_file_path(file)) is not None
            and file.content != DataFileContent.DATA
        ):
            # One that is not live was removed, or has become a younger file: that tells of its days.
            named = self._live.get(about)
            days = NO_DAY if named is None else days_of(self._state.metadata, self._column, named)
        if days is None:
            raise _untold(self._state, self._column, file)
        if days != NO_DAY:
            yield from (days[0] + timedelta(days=number) for number in range((days[1] - days[0]).days + 1))

    @cached_property
    def _live(self) -> dict[str, DataFile]:
        state = self._state
        return {
            entry.data_file.file_path: entry.data_file
            for manifest in (state.snapshot.manifests(state.table.io) if state.snapshot else ())
            if manifest.content == ManifestContent.DATA
            for entry in entries_in(state.table.io, manifest)
        }


def _later(state: State, above: int) -> tuple[list[Snapshot], bool]:
    """The snapshots of the history above that number, newest first, and whether all of them are still there."""
    later: list[Snapshot] = []
    for snapshot in history(state.metadata, state.snapshot):
        number = snapshot.sequence_number or 0
        if number == above:
            return later, True
        if number < above:
            raise _elsewhere(state, above)
        later.append(snapshot)
    if any(snapshot.sequence_number == above for snapshot in state.metadata.snapshots):
        raise _elsewhere(state, above)
    # Every commit has a number of its own: where none is missing, none has expired.
    return later, not later or later[-1].sequence_number == above + 1


def _elsewhere(state: State, above: int) -> SnapshotMissing:
    return SnapshotMissing(
        f"sequence number {above} is not in the history of what is read of {state.name}: the table was restored, or it"
        " is another branch's",
        found=f"the head's {state.snapshot.sequence_number if state.snapshot else None}",
        remedy="Take every day as changed once, and go on from the head's number.",
    )


def _files(state: State, later: list[Snapshot], above: int) -> Iterator[tuple[DataFile, int]]:
    """Files and delete files that came since and are live, and those that an effect removed since: each with when."""
    io = state.table.io
    for manifest in state.snapshot.manifests(io) if state.snapshot else ():
        # No entry has a higher number than its manifest.
        if (manifest.sequence_number or 0) > above:
            for entry in entries_in(io, manifest):
                if (number := entry.sequence_number or 0) > above:
                    yield entry.data_file, number
    for snapshot in later:
        if snapshot.summary is None or snapshot.summary.operation not in {Operation.APPEND, Operation.REPLACE}:
            yield from ((file, snapshot.sequence_number or 0) for file in _removed(state, snapshot))


def _removed(state: State, snapshot: Snapshot) -> Iterator[DataFile]:
    for manifest in snapshot.manifests(state.table.io):
        if manifest.added_snapshot_id == snapshot.snapshot_id and manifest.deleted_files_count != 0:
            for entry in manifest.fetch_manifest_entry(state.table.io, discard_deleted=False):
                if entry.status == ManifestEntryStatus.DELETED and entry.snapshot_id == snapshot.snapshot_id:
                    yield entry.data_file


def _untold(state: State, column: NestedField, file: DataFile) -> QueryError:
    return QueryError(
        f"the metadata of {state.name} does not tell which days a file holds",
        expected=f"a partition by day of {column.name}, or its bounds",
        found=file.file_path,
        remedy="Ask for the changes themselves, or take every day as changed.",
    )
