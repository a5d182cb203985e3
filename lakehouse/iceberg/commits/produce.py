"""What one attempt writes: the manifests, the manifest list and the summary of a snapshot, on PyIceberg's producer.

Each promise is checked here against the head that the attempt builds on. How attempts follow one another is
`commit.py`.
"""

from __future__ import annotations

import json
from abc import abstractmethod
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
)
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update import UpdatesAndRequirements
from pyiceberg.table.update.snapshot import _FastAppendFiles, _SnapshotProducer
from pyiceberg.typedef import EMPTY_DICT

from lakehouse.errors import CommitConflict, CommitError
from lakehouse.iceberg.commits.content import CONTENT, content_at
from lakehouse.iceberg.commits.delete_manifests import DeleteManifests, DeleteManifestWriter, entry_as
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
from lakehouse.iceberg.commits.sidecar import TOMBSTONES, as_statistics, sidecar_at
from lakehouse.iceberg.commits.totals import summarised
from lakehouse.iceberg.selection.plan import Plan, count

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Change:
    """Files that a commit takes away, and what must not have changed meanwhile.

    `plan` is what the effect was made from, `replan` says what it would be made from now; `removed` are the paths among
    it that go. `proof` are row counts, and for a compaction the hash of the rows, for the summary. `sequences` are the
    data sequence numbers of added files that hold old rows, by path (all others: that of the snapshot). `hiding` are
    delete files that come, each about a file of the plan that stays; `superseded` the paths of delete files that go
    although their data files stay. Those about removed files alone go with them, unasked.
    """

    operation: Operation
    plan: Plan
    replan: Callable[[TableMetadata], Plan]
    removed: frozenset[str]
    proof: Mapping[str, int | str] = field(default_factory=dict)
    sequences: Mapping[str, int] = field(default_factory=dict)
    hiding: tuple[DataFile, ...] = ()
    superseded: frozenset[str] = frozenset()


class Producer(_SnapshotProducer[Any]):
    """What every producer of ours does at every attempt."""

    intent: Intent

    def attempt(self) -> UpdatesAndRequirements:
        """Check all promises, write the manifests, and say what the catalog shall swap.

        Raises AlreadyDone, Fenced, RunKeyTooOld, BranchMissing, CommitConflict, CommitError.
        """
        self._check(self._transaction.table_metadata)
        updates, requirements = self._commit()
        return (*updates, *as_statistics(updates)), requirements

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

    @abstractmethod
    def _keeps_rows(self) -> bool:
        """Whether the table holds the very same rows afterwards."""

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
        if self._keeps_rows() and (content := content_at(metadata, parent)) is not None:
            ours[CONTENT] = str(content)
        if READ not in self.intent.summary:
            # Carried forward as progress is: the snapshot of the build may expire before the next build.
            ours |= read_at(metadata, parent)
        if TOMBSTONES not in self.intent.summary and (tombstones := sidecar_at(metadata, parent)) is not None:
            ours[TOMBSTONES] = tombstones
        said = Summary(self._operation, **{**snapshot_properties, **self.intent.summary, **ours})
        return summarised(metadata, parent, said, self._come(), self._gone())

    def _manifests(self) -> list[ManifestFile]:
        """PyIceberg lists all added files by the table's spec; those of another one have a manifest of their own."""
        added, spec_id = self._added_data_files, self._transaction.table_metadata.default_spec_id
        specs = sorted({file.spec_id for file in added} - {spec_id})
        made = [self._listed(spec, [file for file in added if file.spec_id == spec], {}) for spec in specs]
        self._added_data_files = [file for file in added if file.spec_id == spec_id]
        try:
            return [*made, *super()._manifests()]
        finally:
            self._added_data_files = added

    def _listed(self, spec_id: int, files: Collection[DataFile], sequences: Mapping[str, int]) -> ManifestFile:
        """A manifest of added files of one spec: of this snapshot, or as old as `sequences` says by their paths."""
        with self.new_manifest_writer(self.spec(spec_id)) as writer:
            for file in files:
                entry = ManifestEntry.from_args(
                    status=ManifestEntryStatus.ADDED,
                    snapshot_id=self._snapshot_id,
                    sequence_number=sequences.get(file.file_path),
                    file_sequence_number=None,
                    data_file=file,
                )
                writer.add_entry(entry)
        return writer.to_manifest_file()

    def _come(self) -> list[DataFile]:
        """All files that the snapshot adds."""
        return self._added_data_files

    def _gone(self) -> set[DataFile]:
        """All files that the snapshot removes."""
        return self._deleted_data_files


class AppendProducer(Producer, _FastAppendFiles):
    """Files are added; nothing conflicts."""

    def _keeps_rows(self) -> bool:
        return not self._added_data_files


class ChangeProducer(Producer):
    """Files are replaced by others, and no other file is touched."""

    change: Change
    _plan: Plan
    _deleted_delete_files: set[DataFile]

    def _check(self, metadata: TableMetadata) -> None:
        super()._check(metadata)
        self._plan = self.change.replan(metadata)
        if self._plan.content != self.change.plan.content:
            raise self._conflict("files of the replaced rows came or went, or rows of them were deleted,")
        if not {file.spec_id for file in self.change.hiding} <= metadata.specs().keys():
            raise self._conflict("a partitioning of the table was removed")
        self._deleted_data_files = {of.file for of in self._plan.touched if of.path in self.change.removed}
        away = self._plan.dangling(self.change.removed) | self.change.superseded
        listed = (entry.data_file for entries in self._plan.deletes.values() for entry in entries)
        self._deleted_delete_files = {file for file in listed if file.file_path in away}

    def _keeps_rows(self) -> bool:
        return self.change.operation is Operation.REPLACE

    def _deleted_entries(self) -> list[ManifestEntry]:
        return [
            entry_as(entry, ManifestEntryStatus.DELETED, self._snapshot_id)
            for entries in self._plan.entries.values()
            for entry in entries
            if entry.data_file.file_path in self.change.removed
        ]

    def _existing_manifests(self) -> list[ManifestFile]:
        """Those of the head, without the files that go; manifests of delete files also with those that come."""
        head = self._transaction.table_metadata.snapshot_by_id(self._parent_snapshot_id or 0)
        manifests = head.manifests(self._io) if head else []
        kept: list[ManifestFile] = []
        for manifest in (of for of in manifests if of.content == ManifestContent.DATA):
            entries = self._plan.entries.get(manifest.manifest_path, [])
            left = [entry for entry in entries if entry.data_file.file_path not in self.change.removed]
            if len(left) == len(entries):
                if manifest.has_added_files() or manifest.has_existing_files():
                    kept.append(manifest)
            elif left:
                kept.append(self._existing(manifest.partition_spec_id, left))
        deletes = (of for of in manifests if of.content == ManifestContent.DELETES)
        gone = {file.file_path for file in self._deleted_delete_files}
        making = DeleteManifests(self._snapshot_id, self._delete_writer)
        return kept + making.made(deletes, self._plan.deletes, gone, self.change.hiding)

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
        """Manifests of added files, each as old as the rows in it."""
        by_spec = {spec: [file for file in files if file.spec_id == spec] for spec in {file.spec_id for file in files}}
        return [self._listed(spec, by_spec[spec], self.change.sequences) for spec in sorted(by_spec)]

    def _prove(self, made: list[ManifestFile]) -> None:
        """Files and rows of the new list = those of the head - removed + added. Raises CommitError."""
        deletes = [entry.data_file for entries in self._plan.deletes.values() for entry in entries]
        data = self._plan.files, self._plan.rows
        for content, before, gone, come in (
            (ManifestContent.DATA, data, self._deleted_data_files, self._added_data_files),
            (ManifestContent.DELETES, _sizes(deletes), self._deleted_delete_files, self.change.hiding),
        ):
            less, more = _sizes(gone), _sizes(come)
            expected = before[0] - less[0] + more[0], before[1] - less[1] + more[1]
            kind = "files" if content == ManifestContent.DATA else "delete files"
            if (found := count(made, content)) != expected:
                raise CommitError(
                    f"the new snapshot of {self.intent.table} would not hold the files that it must",
                    expected=f"{expected[0]} {kind} of {expected[1]} rows",
                    found=f"{found[0]} {kind} of {found[1]} rows",
                    remedy="Nothing was written. Report this with the table's metadata file: it must not happen.",
                )

    def _existing(self, spec_id: int, left: Collection[ManifestEntry]) -> ManifestFile:
        with self.new_manifest_writer(self.spec(spec_id)) as writer:
            for entry in left:
                writer.add_entry(entry_as(entry, ManifestEntryStatus.EXISTING, entry.snapshot_id))
        return writer.to_manifest_file()

    def _delete_writer(self, spec_id: int) -> ManifestWriter:
        output = self.new_manifest_output()
        return DeleteManifestWriter(self.spec(spec_id), self.schema(), output, self._snapshot_id, self._compression)

    def _come(self) -> list[DataFile]:
        return [*self._added_data_files, *self.change.hiding]

    def _gone(self) -> set[DataFile]:
        return self._deleted_data_files | self._deleted_delete_files

    def _summary(self, snapshot_properties: dict[str, str] = EMPTY_DICT) -> Summary:
        proof = {PROOF: json.dumps(self.change.proof, separators=(",", ":"))} if self.change.proof else {}
        return super()._summary({**snapshot_properties, **proof})


def _sizes(files: Collection[DataFile]) -> tuple[int, int]:
    """How many files, and their rows."""
    return len(files), sum(file.record_count for file in files)
