"""Which live files of a branch an effect touches, and which delete files lie on them, as of some metadata.

Manifests whose summaries rule them out are not read. What is done with the files is `rewrite.py` and `commit.py`; which
rows are meant, `where.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, DataFileContent, ManifestContent, ManifestEntry, ManifestFile
from pyiceberg.table.delete_file_index import DeleteFileIndex, _referenced_data_file_path
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.utils.concurrent import ExecutorFactory

from lakehouse.iceberg.commits.progress import head_of
from lakehouse.iceberg.reads.manifests import entries_in

ManifestsRead: TypeAlias = dict[str, list[ManifestEntry]]
"""The live entries of manifests, by path. A manifest never changes, so what was read once holds for later plans."""


class Chosen(Protocol):
    """What tells the files that an effect is about."""

    def manifest_may(self, manifest: ManifestFile) -> bool:
        """Whether a manifest may list such a file."""

    def file_may(self, file: DataFile) -> bool:
        """Whether a file is, or may be, such a file."""


class Paths:
    """Files by their paths."""

    def __init__(self, paths: Collection[str]) -> None:
        self._paths = frozenset(paths)

    def manifest_may(self, _manifest: ManifestFile) -> bool:
        """Any manifest may list any path."""
        return True

    def file_may(self, file: DataFile) -> bool:
        """Whether the file is one of them."""
        return file.file_path in self._paths


@dataclass(frozen=True)
class Touched:
    """A live data file, and the delete files that hide rows of it.

    `sequence` is the highest data sequence number among them all: that of the last change to the file's rows.
    """

    file: DataFile
    sequence: int
    deletes: frozenset[DataFile]

    @property
    def path(self) -> str:
        """Where it is, which is also what it is known by."""
        return str(self.file.file_path)

    @property
    def equality_deletes(self) -> bool:
        """Whether rows of it are hidden by their values, as only foreign writers do."""
        return any(file.content == DataFileContent.EQUALITY_DELETES for file in self.deletes)


@dataclass(frozen=True)
class Plan:
    """What an effect finds at a head. `files` and `rows` count all live data files of the branch, hidden rows included.

    `entries` are the live entries of each manifest that lists a touched file, by the manifest's path; `deletes` those
    of each manifest of delete files.
    """

    touched: tuple[Touched, ...] = ()
    entries: dict[str, list[ManifestEntry]] = field(default_factory=dict)
    deletes: dict[str, list[ManifestEntry]] = field(default_factory=dict)
    files: int = 0
    rows: int = 0

    @property
    def content(self) -> dict[str, frozenset[str]]:
        """The touched files and what hides rows of them, by path: two plans are of the same rows if this is equal."""
        return {of.path: frozenset(str(file.file_path) for file in of.deletes) for of in self.touched}

    def dangling(self, removed: Collection[str]) -> frozenset[str]:
        """The delete files that are about removed data files and no others."""
        return frozenset(
            str(entry.data_file.file_path)
            for entries in self.deletes.values()
            for entry in entries
            if entry.data_file.content == DataFileContent.POSITION_DELETES
            and _referenced_data_file_path(entry.data_file) in removed
        )


def plan(
    metadata: TableMetadata, io: FileIO, branch: str, chosen: Chosen, manifests_read: ManifestsRead | None = None
) -> Plan:
    """The chosen files of a branch. `manifests_read`: what earlier plans of the same table have read, and this one.

    Raises BranchMissing.
    """
    head = head_of(metadata, branch)
    if head is None:
        return Plan()
    manifests = head.manifests(io)
    data = [manifest for manifest in manifests if manifest.content == ManifestContent.DATA]
    read = {} if manifests_read is None else manifests_read
    listed = _entries(io, (manifest for manifest in data if _live(manifest) and chosen.manifest_may(manifest)), read)
    deletes = _entries(io, (manifest for manifest in manifests if manifest.content == ManifestContent.DELETES), read)
    hiding = Hiding(entry for entries in deletes.values() for entry in entries)
    kept: dict[str, list[ManifestEntry]] = {}
    touched: list[Touched] = []
    for path, entries in listed.items():
        found = [entry for entry in entries if chosen.file_may(entry.data_file)]
        if found:
            kept[path] = entries
            touched += [hiding.of(entry) for entry in found]
    return Plan(tuple(touched), kept, deletes, *count(data, ManifestContent.DATA))


def count(manifests: Iterable[ManifestFile], content: ManifestContent) -> tuple[int, int]:
    """Live files of a kind and their rows, from what a manifest list says about its manifests."""
    those = [manifest for manifest in manifests if manifest.content == content]
    files = sum((manifest.added_files_count or 0) + (manifest.existing_files_count or 0) for manifest in those)
    rows = sum((manifest.added_rows_count or 0) + (manifest.existing_rows_count or 0) for manifest in those)
    return files, rows


class Hiding:
    """The delete files of a branch, by what they apply to (Iceberg spec, "Scan Planning")."""

    def __init__(self, entries: Iterable[ManifestEntry]) -> None:
        self._positions = DeleteFileIndex()
        self._values: list[ManifestEntry] = []
        self._sequences: dict[str, int] = {}
        for entry in entries:
            self._sequences[entry.data_file.file_path] = entry.sequence_number or 0
            if entry.data_file.content == DataFileContent.EQUALITY_DELETES:
                self._values.append(entry)
            else:
                self._positions.add_delete_file(entry, entry.data_file.partition)

    def of(self, entry: ManifestEntry) -> Touched:
        """A data file with what hides rows of it."""
        file, sequence = entry.data_file, entry.sequence_number or 0
        deletes = frozenset(
            [
                *self._positions.for_data_file(sequence, file, file.partition),
                *(value.data_file for value in self._values if _by_value(value, file, sequence)),
            ]
        )
        return Touched(file, max([sequence, *(self._sequences[of.file_path] for of in deletes)]), deletes)


def _by_value(value: ManifestEntry, file: DataFile, sequence: int) -> bool:
    everywhere = len(value.data_file.partition) == 0
    same = value.data_file.spec_id == file.spec_id and value.data_file.partition == file.partition
    return (everywhere or same) and sequence < (value.sequence_number or 0)


def _entries(io: FileIO, manifests: Iterable[ManifestFile], read: ManifestsRead) -> ManifestsRead:
    wanted = list(manifests)
    new = [manifest for manifest in wanted if manifest.manifest_path not in read]
    found = ExecutorFactory.get_or_create().map(lambda manifest: list(entries_in(io, manifest)), new)
    read |= {manifest.manifest_path: entries for manifest, entries in zip(new, found, strict=True)}
    return {manifest.manifest_path: read[manifest.manifest_path] for manifest in wanted}


def _live(manifest: ManifestFile) -> bool:
    return manifest.has_added_files() or manifest.has_existing_files()
