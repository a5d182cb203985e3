"""Which files removed snapshots name and nothing else does: reachable before minus reachable after.

Only what is removed is looked through for candidates; what is left is read to take from them. How lists and manifests
are read is `reads/manifests.py`, what becomes of the files `delete.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import structlog
from pyiceberg.io import FileIO
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.utils.concurrent import ExecutorFactory

from lakehouse.errors import SettingsError
from lakehouse.iceberg.commits.progress import summary_of
from lakehouse.iceberg.commits.sidecar import sidecars
from lakehouse.iceberg.reads.manifests import files_in, manifests_in
from lakehouse.storage.paths import normalise

_log = structlog.get_logger(__name__)

_Asked = TypeVar("_Asked")
_Found = TypeVar("_Found")


class Unreachable:
    """Files of removed snapshots, shrinking with each metadata that is spared: `{path: bytes}` of each kind.

    `data` are data and delete files; `lists` are manifest lists, whose bytes no metadata tells. Paths are spelled one
    way: a file that is named in two ways is one. A list or manifest that is not there any more has been deleted after
    all that it names: nothing is left to find through it. Raises OSError when what is left cannot be read as a
    whole, CatalogError when it is not told which file of deleted keys it needs.
    """

    def __init__(self, io: FileIO, before: Collection[TableMetadata], now: TableMetadata) -> None:
        self._io = io
        self._read = set[str]()
        left = {snapshot.snapshot_id for snapshot in now.snapshots}
        self.lists: dict[str, int] = {
            _place(snapshot.manifest_list): 0
            for metadata in before
            for snapshot in metadata.snapshots
            if snapshot.snapshot_id not in left
        }
        self.statistics = {path: size for metadata in before for path, size in _statistics(metadata)}
        self.manifests: dict[str, int] = {}
        self.data: dict[str, int] = {}
        self._spare_lists(now)
        for listed in _each(self._manifests_if_there, self.lists):
            self.manifests.update(listed)
        kept = self._spare_manifests(now)
        for files in _each(self._files_if_there, self.manifests):
            self.data.update(files)
        self._spare_data(kept)

    def spare(self, now: TableMetadata) -> None:
        """Keep whatever newer metadata names. Raises what the class does."""
        self._spare_lists(now)
        self._spare_data(self._spare_manifests(now))

    def _spare_lists(self, now: TableMetadata) -> None:
        for snapshot in now.snapshots:
            self.lists.pop(_place(snapshot.manifest_list), None)
        for path, _ in _statistics(now):
            self.statistics.pop(path, None)

    def _spare_manifests(self, now: TableMetadata) -> dict[str, int]:
        """The manifests of a state of the table, of lists that were not read before; they are not removed."""
        fresh = [snapshot for snapshot in now.snapshots if snapshot.manifest_list not in self._read]
        self._read.update(snapshot.manifest_list for snapshot in fresh)
        kept: dict[str, int] = {}
        for listed in _each(self._listed, fresh):
            kept.update(listed)
        for path in kept:
            self.manifests.pop(path, None)
        return kept

    def _spare_data(self, manifests: Mapping[str, int]) -> None:
        if not self.data:
            return
        fresh = [manifest for manifest in manifests.items() if manifest[0] not in self._read]
        self._read.update(path for path, _ in fresh)
        for live in _each(self._live_candidates, fresh):
            for path in live:
                self.data.pop(path, None)

    def _listed(self, snapshot: Snapshot) -> dict[str, int]:
        with _undamaged(snapshot.manifest_list):
            found = {_place(path): length for path, length in manifests_in(self._io, snapshot.manifest_list)}
        if not found and summary_of(snapshot).get("total-data-files", "0") != "0":
            raise _Damaged(f"{snapshot.manifest_list} names no manifest of a snapshot that has files")
        return found

    def _live_candidates(self, manifest: tuple[str, int]) -> list[str]:
        path, length = manifest
        with _undamaged(path):
            live = (_place(file) for file, _, live in files_in(self._io, path, length=length) if live)
            # Only these are brought back: a table may have many more files than an expiry is about.
            return [place for place in live if place in self.data]

    def _manifests_if_there(self, path: str) -> dict[str, int]:
        with _gone(path), _undamaged(path):
            return {_place(manifest): length for manifest, length in manifests_in(self._io, path)}
        return {}

    def _files_if_there(self, path: str) -> dict[str, int]:
        with _gone(path), _undamaged(path):
            # What a manifest tells as deleted is live in an older snapshot: found there, or gone with it before.
            return {_place(file): size for file, size, live in files_in(self._io, path) if live}
        return {}


class _Damaged(OSError):
    """A list or manifest that is there, and is none."""


@contextmanager
def _undamaged(path: str) -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        # Whatever other bytes make of a reader of Avro.
        raise _Damaged(f"{path} is no list of files: {error}") from error


@contextmanager
def _gone(path: str) -> Iterator[None]:
    """Removed snapshots need not be whole: what is not found through them is left to the removal of orphans."""
    try:
        yield
    except FileNotFoundError:
        _log.debug("deleted before", path=path)
    except _Damaged as error:
        _log.warning("files of a removed snapshot are left to the removal of orphans", path=path, reason=str(error))


def _place(path: str) -> str:
    """One spelling of a path; of a kind that no store here knows, the path itself."""
    try:
        return normalise(path)
    except SettingsError:
        return path


def _statistics(metadata: TableMetadata) -> Iterator[tuple[str, int]]:
    """What snapshots name beside their manifests: statistics, and files of deleted keys."""
    for file in (*metadata.statistics, *metadata.partition_statistics):
        yield _place(file.statistics_path), file.file_size_in_bytes
    for path, size in sidecars(metadata):
        yield _place(path), size


def _each(read: Callable[[_Asked], _Found], of: Iterable[_Asked]) -> Iterator[_Found]:
    """Read in threads: on S3 each answer is waited for."""
    return ExecutorFactory.get_or_create().map(read, of)
