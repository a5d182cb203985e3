"""Deleting the files of an expiry: in an order that lets the next one go on wherever this one is stopped.

Which files is `reachable.py`. Data files go first, then the manifests that name them, then the lists that name those:
what is not deleted yet can still be found. A file outside of the store is never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import structlog

from lakehouse.errors import SourceError
from lakehouse.iceberg.expiry.reachable import Unreachable
from lakehouse.storage import Store
from lakehouse.storage.paths import normalise

_log = structlog.get_logger(__name__)

Progress = Callable[[str], None]
"""Told what was done, in one sentence, from time to time."""
_AT_ONCE = 1000


@dataclass
class Deletion:
    """What is deleted so far. `failed`: the store would not, this time; `outside`: files that are not in it."""

    data: int = 0
    metadata: int = 0
    bytes: int = 0
    failed: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()


def delete_files(store: Store, files: Unreachable, progress: Progress | None = None) -> Deletion:
    """Delete the files, 1,000 at a time.

    What the store refuses is in the result, and what it is found through stays, for the next time.
    """
    done = Deletion()
    for paths, data in ((files.data, True), (files.manifests, False), ({**files.statistics, **files.lists}, False)):
        inside = _inside(store, paths, done)
        for batch in _batches(sorted(inside)):
            count, failed = _delete(store, {path: inside[path] for path in batch})
            done.failed += failed
            done.bytes += sum(paths[inside[path]] for path in batch if inside[path] not in failed)
            done.data, done.metadata = done.data + count * data, done.metadata + count * (not data)
            if progress is not None:
                progress(f"{done.data} data files and {done.metadata} metadata files deleted")
        if done.failed:
            break
    return done


def _delete(store: Store, batch: Mapping[str, str]) -> tuple[int, tuple[str, ...]]:
    """How many were deleted, and which were not; `batch` maps paths in the store to those in the metadata."""
    try:
        deleted = store.delete(batch)
    except SourceError as error:
        # The snapshots are gone: that the store does not answer now must not look as if they were not.
        _log.warning("files of removed snapshots wait for the next expiry", files=len(batch), answer=str(error))
        return 0, tuple(batch.values())
    if deleted.failed:
        _log.warning("files not deleted", count=len(deleted.failed), one=deleted.failed[0], answer=deleted.reason)
    return deleted.count, tuple(batch[path] for path in deleted.failed)


def _inside(store: Store, paths: Mapping[str, int], done: Deletion) -> dict[str, str]:
    """The paths that are in the store, as it names them and whole; `paths` are normalised."""
    root = normalise(store.root)
    found: dict[str, str] = {}
    for path in paths:
        # Paths of a kind that no store knows are spelled as somebody else did.
        if path.startswith(f"{root.rstrip('/')}/") and ".." not in path.split("/"):
            found[path.removeprefix(root).lstrip("/")] = path
        else:
            _log.warning("a file of a removed snapshot is outside of the store", path=path, root=root)
            done.outside += (path,)
    return found


def _batches(paths: Sequence[str]) -> Iterator[list[str]]:
    waiting = iter(paths)
    while batch := list(islice(waiting, _AT_ONCE)):
        yield batch
