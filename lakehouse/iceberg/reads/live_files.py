"""The files that a branch consists of, and its manifests: figures from metadata, no row is read.

What is worth doing about them is decided in `upkeep/`; which files an effect touches is `selection/plan.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, DataFileContent, ManifestContent, ManifestEntry, ManifestFile
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.utils.concurrent import ExecutorFactory

from lakehouse.iceberg.commits.progress import head_of
from lakehouse.iceberg.reads.manifests import entries_in
from lakehouse.iceberg.selection.plan import Hiding


@dataclass(frozen=True)
class LiveFile:
    """A live data file, and what lies on it.

    `path` as the manifest spells it. `partition`: the folder of its value, "" for none, with the spec's number in front
    ("0:day=2026-01-01") when that is not the table's current one. `bytes` on disk. `sequence`: of the last change to
    its rows, deletes included. `packed`: it is younger than its rows, so it came of a rewrite. `delete_files` are the
    position delete files on it, `deleted_rows` at most so many of its rows are hidden by them.
    """

    path: str
    partition: str
    current_spec: bool
    rows: int
    bytes: int
    sequence: int
    packed: bool = False
    delete_files: int = 0
    deleted_rows: int = 0
    equality_deletes: bool = False


@dataclass(frozen=True)
class ManifestStats:
    """The manifests of a branch's head: how many, their bytes, those that list delete files, and how many they list."""

    count: int = 0
    bytes: int = 0
    delete_manifests: int = 0
    delete_files: int = 0


def live_files(metadata: TableMetadata, io: FileIO, branch: str) -> tuple[LiveFile, ...]:
    """Every live data file of a branch, in the order of its manifests. Raises BranchMissing."""
    head = head_of(metadata, branch)
    if head is None:
        return ()
    manifests = head.manifests(io)
    read = ExecutorFactory.get_or_create().map
    hidden = [manifest for manifest in manifests if manifest.content == ManifestContent.DELETES]
    deletes = list(chain.from_iterable(read(lambda manifest: list(entries_in(io, manifest)), hidden)))
    files = _Files(metadata, deletes)
    data = [manifest for manifest in manifests if manifest.content == ManifestContent.DATA]
    # Made where a manifest is read: an entry with its bounds is ten times what is kept of it.
    return tuple(chain.from_iterable(read(lambda manifest: files.of(manifest, io), data)))


def manifest_stats(metadata: TableMetadata, io: FileIO, branch: str) -> ManifestStats:
    """The manifests of a branch, from its manifest list. Raises BranchMissing."""
    head = head_of(metadata, branch)
    manifests = head.manifests(io) if head else []
    hiding = [manifest for manifest in manifests if manifest.content == ManifestContent.DELETES]
    return ManifestStats(
        count=len(manifests),
        bytes=sum(manifest.manifest_length for manifest in manifests),
        delete_manifests=len(hiding),
        delete_files=sum((of.added_files_count or 0) + (of.existing_files_count or 0) for of in hiding),
    )


class _Files:
    """Makes entries of manifests into figures."""

    def __init__(self, metadata: TableMetadata, deletes: Sequence[ManifestEntry]) -> None:
        self._specs, self._current = metadata.specs(), metadata.default_spec_id
        self._schemas = {number: _schema_for(metadata, spec) for number, spec in self._specs.items()}
        self._folders: dict[tuple[object, ...], str] = {}
        self._hiding = Hiding(deletes) if deletes else None
        self._sequences = {entry.data_file.file_path: entry.sequence_number or 0 for entry in deletes}

    def of(self, manifest: ManifestFile, io: FileIO) -> list[LiveFile]:
        """The live files of one manifest."""
        return [self._file(entry) for entry in entries_in(io, manifest)]

    def _file(self, entry: ManifestEntry) -> LiveFile:
        file, sequence, born = entry.data_file, entry.sequence_number or 0, entry.file_sequence_number or 0
        on_it = self._hiding.of(entry).deletes if self._hiding else ()
        # No delete file tells of a file that came after it, though its bounds and number may allow it: a rewritten
        # file is as old as the newest delete in it.
        later = [delete for delete in on_it if self._sequences[delete.file_path] >= born]
        positions = [delete for delete in later if delete.content == DataFileContent.POSITION_DELETES]
        return LiveFile(
            path=str(file.file_path),
            partition=self._folder(file),
            current_spec=file.spec_id == self._current,
            rows=int(file.record_count),
            bytes=int(file.file_size_in_bytes),
            sequence=max([sequence, *(self._sequences[delete.file_path] for delete in on_it)]),
            packed=born > sequence,
            delete_files=len(positions),
            deleted_rows=min(sum(int(delete.record_count) for delete in positions), int(file.record_count)),
            equality_deletes=any(delete.content == DataFileContent.EQUALITY_DELETES for delete in on_it),
        )

    def _folder(self, file: DataFile) -> str:
        # Each is worked out once: there are many more files than partitions.
        key = (file.spec_id, *(file.partition[at] for at in range(len(file.partition))))
        found = self._folders.get(key)
        if found is None:
            schema = self._schemas[file.spec_id]
            found = self._specs[file.spec_id].partition_to_path(file.partition, schema) if schema else str(key[1:])
            if file.spec_id != self._current:
                found = f"{file.spec_id}:{found}"
            self._folders[key] = found
        return found


def _schema_for(metadata: TableMetadata, spec: PartitionSpec) -> Schema | None:
    """A schema with all columns of a spec: the current one may have lost some; None if no schema is left that has."""
    columns = {field.source_id for field in spec.fields}
    return next((one for one in (metadata.schema(), *metadata.schemas) if columns <= one.field_ids), None)
