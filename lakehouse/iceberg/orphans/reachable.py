"""Every file that the newest metadata of a table names, directly or through snapshots, as it is now.

What a table's expiry may delete is the difference of two of its states (`expiry/`); here there is only the newest, and
what was named once stays named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from pyiceberg.io import FileIO
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.utils.concurrent import ExecutorFactory

from lakehouse.errors import CatalogError, CommitConflict, LakehouseError
from lakehouse.iceberg.commits.progress import summary_of
from lakehouse.iceberg.commits.sidecar import sidecars
from lakehouse.iceberg.expiry.unfinished import unfinished
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.iceberg.reads.manifests import files_in, manifests_in
from lakehouse.storage.digests import Digests
from lakehouse.storage.paths import normalise
from lakehouse.tables import TableName

_T = TypeVar("_T")

_STAYS = "version-hint.text"
"""What Hadoop's catalog keeps beside the metadata, named by nothing."""
_AT_ONCE = 16
"""Manifests whose paths are in memory together."""


class Reachable:
    """What a table names. Some 20 bytes a file, whatever the length of its path.

    Raises CatalogError when the catalog fails or a manifest cannot be read, SettingsError for a path of a kind that is
    not known here: then it is not known what is named.
    """

    def __init__(self, name: TableName, load: Callable[[], IcebergTable]) -> None:
        self._name, self._load = name, load
        self._paths, self._last_parts = Digests(), Digests()
        # Manifest lists and manifests never change: each is read once.
        self._read: set[str] = set()
        self.table = self._take_in(load())

    def renew(self) -> None:
        """Take in what was committed since. Raises CommitConflict when the table was dropped and made anew."""
        table = self._load()
        if table.metadata.table_uuid != self.table.metadata.table_uuid:
            raise CommitConflict(f"{self._name} was dropped and made anew", remedy="Run again.")
        if table.metadata_location != self.table.metadata_location:
            self.table = self._take_in(table)

    def names(self, path: str) -> bool:
        """Whether a path, as `normalise` gives it, is named, or is the checksum that Hadoop keeps of such a file."""
        folder, _, last = path.rpartition("/")
        if last.startswith(".") and last.endswith(".crc"):
            return self.names(f"{folder}/{last[1:-4]}")
        return last == _STAYS or path in self._paths

    def names_alike(self, path: str) -> bool:
        """Whether a file of this name is named in any folder: then the folder may be spelled in two ways."""
        return path.rpartition("/")[2] in self._last_parts

    def _take_in(self, table: IcebergTable) -> IcebergTable:
        """Take in what a state of the table names, or a newer one whose expiry removed files while we read."""
        with catalog_errors(f"reading which files {self._name} names"):
            while True:
                try:
                    self._add_all(table)
                except FileNotFoundError:
                    newer = self._load()
                    if newer.metadata_location == table.metadata_location:
                        raise
                    table = newer
                else:
                    return table

    def _add_all(self, table: IcebergTable) -> None:
        for path in _beside_snapshots(table):
            self._add(path)
        manifests: dict[str, int] = {}
        snapshots = {snapshot.manifest_list: snapshot for snapshot in table.metadata.snapshots}
        for listed in self._each(snapshots, lambda path: _manifests(table.io, snapshots[path])):
            manifests.update(listed)
        for files in self._each(manifests, lambda path: _files(table.io, path, manifests[path])):
            for path in files:
                self._add(path)
        # Only now: what is read again after a failure must be read with all that it leads to.
        self._read.update(snapshots, manifests)

    def _each(self, paths: Iterable[str], read: Callable[[str], _T]) -> Iterator[_T]:
        """What is in each file that was not read yet; the files themselves are named, too."""
        fresh = [path for path in paths if path not in self._read]
        pool = ExecutorFactory.get_or_create()
        # A few at a time: what waits to be taken in is in memory.
        for some in (fresh[start : start + _AT_ONCE] for start in range(0, len(fresh), _AT_ONCE)):
            yield from pool.map(partial(_undamaged, read), some)
            for path in some:
                self._add(path)

    def _add(self, path: str) -> None:
        normal = normalise(path)
        self._paths.add(normal)
        self._last_parts.add(normal.rpartition("/")[2])


def _beside_snapshots(table: IcebergTable) -> Iterator[str]:
    """The metadata file of now, those of its log and of an expiry to be resumed, statistics, and deleted keys."""
    metadata: TableMetadata = table.metadata
    yield table.metadata_location
    yield from (entry.metadata_file for entry in metadata.metadata_log)
    yield from unfinished(metadata).values()
    yield from (file.statistics_path for file in (*metadata.statistics, *metadata.partition_statistics))
    yield from (path for path, _ in sidecars(metadata))


def _manifests(io: FileIO, snapshot: Snapshot) -> dict[str, int]:
    """Bytes by path of a snapshot's manifests."""
    found = dict(manifests_in(io, snapshot.manifest_list))
    if not found and summary_of(snapshot).get("total-data-files", "0") != "0":
        raise _cut_off(snapshot.manifest_list)
    return found


def _files(io: FileIO, manifest: str, length: int) -> list[str]:
    # PyIceberg takes an Avro file that is cut off between two blocks for a whole one, and would not tell of the rest.
    if len(io.new_input(manifest)) < length:
        raise _cut_off(manifest)
    # What a manifest tells as deleted is live in an older snapshot, whose own manifest names it, or nowhere.
    return [path for path, _, live in files_in(io, manifest) if live]


def _undamaged(read: Callable[[str], _T], path: str) -> _T:
    try:
        return read(path)
    except (LakehouseError, OSError):
        raise
    except Exception as error:
        # Whatever a file of other bytes makes of a reader of Avro.
        raise _cut_off(path) from error


def _cut_off(path: str) -> CatalogError:
    return CatalogError(
        f"{path} is damaged, so it is not known which files are named there",
        remedy="Restore it from a backup, or expire its snapshot; until then nothing of this table is swept.",
    )
