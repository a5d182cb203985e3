"""What one attempt writes: the manifests, the manifest list and the summary of a snapshot, on PyIceberg's producer.

Each promise is checked here against the head that the attempt builds on. How attempts follow one another is
`commit.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from pyiceberg.manifest import (
    DataFile,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriter,
    ManifestWriterV2,
)
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update import UpdatesAndRequirements
from pyiceberg.table.update.snapshot import _FastAppendFiles, _SnapshotProducer
from pyiceberg.typedef import EMPTY_DICT

from lakehouse.errors import CommitConflict, CommitError
from lakehouse.iceberg.commits.intent import Intent
from lakehouse.iceberg.commits.outcome import PROOF
from lakehouse.iceberg.commits.progress import (
    FORMAT,
    FORMAT_VERSION,
    PROGRESS,
    READ,
    RUN_KEY,
    encoded,
    progress_at,
    read_at,
)
from lakehouse.iceberg.selection.plan import Plan, count

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Change:
    """Files that a commit takes away, and what must not have changed meanwhile.

    `plan` is what the effect was made from, `replan` says what it would be made from now; `removed` are the paths among
    it that go. `proof` are row counts, and for a compaction the hash of the rows, for the summary. `sequences` are the
    data sequence numbers of added files that hold old rows, by path (all others: that of the snapshot).
    """

    operation: Operation
    plan: Plan
    replan: Callable[[TableMetadata], Plan]
    removed: frozenset[str]
    proof: Mapping[str, int | str] = field(default_factory=dict)
    sequences: Mapping[str, int] = field(default_factory=dict)


class Producer(_SnapshotProducer[Any]):
    """What every producer of ours does at every attempt."""

    intent: Intent

    def attempt(self) -> UpdatesAndRequirements:
        """Check all promises, write the manifests, and say what the catalog shall swap.

        Raises AlreadyDone, Fenced, RunKeyTooOld, BranchMissing, CommitConflict, CommitError.
        """
        self._check(self._transaction.table_metadata)
        return self._commit()

    def start_over(self) -> None:
        """Forget the head; the manifests of refused attempts are remembered, for `clean_up`."""
        self._refresh_for_retry()

    def clean_up(self, *, but: Collection[str] = ()) -> None:
        """Remove the manifests and lists that were written, but for some."""
        written = [*self._uncommitted_manifests, *self._written_manifests, *self._written_manifest_lists]
        for path in written:
            if path not in but:
                self._remove(path)

    def _remove(self, path: str) -> None:
        try:
            self._io.delete(path)
        except FileNotFoundError:
            _log.debug("manifest never written", path=path)
        except OSError as error:
            _log.warning("manifest left behind", path=path, reason=str(error))

    def _check(self, metadata: TableMetadata) -> None:
        self.intent.check(metadata)
        if not {file.spec_id for file in self._added_data_files} <= metadata.specs().keys():
            raise self._conflict("a partitioning of the table was removed")

    def _conflict(self, what: str) -> CommitConflict:
        return CommitConflict(
            f"{what} while {self.intent.table} was being written on branch {self.intent.branch!r}",
            remedy="Nothing was written. Run again.",
        )

    def _validate_concurrency(self) -> None:
        """`_check` has done it, against the very head that is built on."""

    def _build_delete_files_partition_predicate(self) -> None:
        """Not needed: a plan names the manifests of its files."""

    def _summary(self, snapshot_properties: dict[str, str] = EMPTY_DICT) -> Summary:
        metadata = self._transaction.table_metadata
        parent = metadata.snapshot_by_id(self._parent_snapshot_id) if self._parent_snapshot_id is not None else None
        ours = {
            FORMAT: FORMAT_VERSION,
            PROGRESS: encoded({**progress_at(metadata, parent), **self.intent.progress}),
        }
        if self.intent.run_key is not None:
            ours[RUN_KEY] = self.intent.run_key
        if READ not in self.intent.summary and (read := read_at(metadata, parent)) is not None:
            # Carried forward as progress is: the snapshot of the build may expire before the next build.
            ours[READ] = read
        return super()._summary({**snapshot_properties, **self.intent.summary, **ours})


class AppendProducer(Producer, _FastAppendFiles):
    """Files are added; nothing conflicts."""


class ChangeProducer(Producer):
    """Files are replaced by others, and no other file is touched."""

    change: Change
    _plan: Plan

    def _check(self, metadata: TableMetadata) -> None:
        super()._check(metadata)
        self._plan = self.change.replan(metadata)
        if self._plan.content != self.change.plan.content:
            raise self._conflict("files of the replaced rows came or went, or rows of them were deleted,")
        self._deleted_data_files = {of.file for of in self._plan.touched if of.path in self.change.removed}

    def _deleted_entries(self) -> list[ManifestEntry]:
        return [
            _entry(entry, ManifestEntryStatus.DELETED, self._snapshot_id)
            for entries in self._plan.entries.values()
            for entry in entries
            if entry.data_file.file_path in self.change.removed
        ]

    def _existing_manifests(self) -> list[ManifestFile]:
        head = self._transaction.table_metadata.snapshot_by_id(self._parent_snapshot_id or 0)
        dangling = self._plan.dangling(self.change.removed)
        kept: list[ManifestFile] = []
        for manifest in head.manifests(self._io) if head else ():
            data = manifest.content == ManifestContent.DATA
            gone = self.change.removed if data else dangling
            entries = (self._plan.entries if data else self._plan.deletes).get(manifest.manifest_path, [])
            left = [entry for entry in entries if entry.data_file.file_path not in gone]
            if len(left) == len(entries):
                if manifest.has_added_files() or manifest.has_existing_files():
                    kept.append(manifest)
            elif data and left:
                kept.append(self._rewritten(self.new_manifest_writer(self.spec(manifest.partition_spec_id)), left, ()))
            elif not data:
                dead = [entry for entry in entries if entry.data_file.file_path in gone]
                kept.append(self._rewritten(self._delete_writer(self.spec(manifest.partition_spec_id)), left, dead))
        return kept

    def _manifests(self) -> list[ManifestFile]:
        added = self._added_data_files
        old = [file for file in added if file.file_path in self.change.sequences]
        self._added_data_files = [file for file in added if file.file_path not in self.change.sequences]
        try:
            made = [*self._added_old(old), *super()._manifests()]
        finally:
            self._added_data_files = added
        self._prove(made)
        return made

    def _added_old(self, files: list[DataFile]) -> list[ManifestFile]:
        """A manifest of added files, each as old as the rows in it."""
        if not files:
            return []
        with self.new_manifest_writer(self._transaction.table_metadata.spec()) as writer:
            for file in files:
                entry = ManifestEntry.from_args(
                    status=ManifestEntryStatus.ADDED,
                    snapshot_id=self._snapshot_id,
                    sequence_number=self.change.sequences[file.file_path],
                    file_sequence_number=None,
                    data_file=file,
                )
                writer.add_entry(entry)
        return [writer.to_manifest_file()]

    def _prove(self, made: list[ManifestFile]) -> None:
        """Files and rows of the new list = those of the head - removed + added. Raises CommitError."""
        removed, added = self._deleted_data_files, self._added_data_files
        expected = (
            self._plan.files - len(removed) + len(added),
            self._plan.rows - sum(file.record_count for file in removed) + sum(file.record_count for file in added),
        )
        if (found := count(made)) != expected:
            raise CommitError(
                f"the new snapshot of {self.intent.table} would not hold the files that it must",
                expected=f"{expected[0]} files of {expected[1]} rows",
                found=f"{found[0]} files of {found[1]} rows",
                remedy="Nothing was written. Report this with the table's metadata file: it must not happen.",
            )

    def _rewritten(
        self, writer: ManifestWriter, left: Collection[ManifestEntry], dead: Collection[ManifestEntry]
    ) -> ManifestFile:
        with writer:
            for entry in left:
                writer.add_entry(_entry(entry, ManifestEntryStatus.EXISTING, entry.snapshot_id))
            for entry in dead:
                writer.add_entry(_entry(entry, ManifestEntryStatus.DELETED, self._snapshot_id))
        return writer.to_manifest_file()

    def _delete_writer(self, spec: PartitionSpec) -> ManifestWriter:
        output = self.new_manifest_output()
        return _DeleteManifestWriter(spec, self.schema(), output, self._snapshot_id, self._compression)

    def _summary(self, snapshot_properties: dict[str, str] = EMPTY_DICT) -> Summary:
        data, operation = self._deleted_data_files, self._operation
        dangling = self._plan.dangling(self.change.removed)
        delete_files = (entry.data_file for entries in self._plan.deletes.values() for entry in entries)
        self._deleted_data_files = data | {file for file in delete_files if file.file_path in dangling}
        # PyIceberg computes totals for every operation but `replace`.
        self._operation = Operation.OVERWRITE if operation is Operation.REPLACE else operation
        proof = {PROOF: json.dumps(self.change.proof, separators=(",", ":"))} if self.change.proof else {}
        try:
            summary = super()._summary({**snapshot_properties, **proof})
        finally:
            self._deleted_data_files, self._operation = data, operation
        return Summary(operation=operation, **summary.additional_properties)


class _DeleteManifestWriter(ManifestWriterV2):
    """PyIceberg's writer knows manifests of data files only."""

    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


def _entry(entry: ManifestEntry, status: ManifestEntryStatus, snapshot_id: int | None) -> ManifestEntry:
    return ManifestEntry.from_args(
        status=status,
        snapshot_id=snapshot_id,
        sequence_number=entry.sequence_number,
        file_sequence_number=entry.file_sequence_number,
        data_file=entry.data_file,
    )
