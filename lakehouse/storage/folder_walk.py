"""Everything that lies in a folder, as a stream, and files going for good.

Listing as for a delivery, where hidden names are others' business, is `folder.py`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lakehouse.errors import SourceRefused
from lakehouse.storage.store import Deleted, StoredObject

_GONE = (FileNotFoundError, NotADirectoryError)
_AT_ONCE = 16
_A_PART = 64
"""Files that one thread deletes, one after the other."""


def described(path: str, seen: os.stat_result) -> StoredObject:
    """A file as a store tells of it."""
    return StoredObject(path, seen.st_size, datetime.fromtimestamp(seen.st_mtime, UTC), seen.st_mtime_ns)


def walk_files(root: Path, prefix: str) -> Iterator[StoredObject]:
    """Every regular file below `root` whose relative path begins with `prefix`, a folder after the other.

    Links are left out: what they name lies elsewhere and is somebody else's. Raises SourceRefused.
    """
    waiting = [prefix.rpartition("/")[0]]
    while waiting:
        folder = waiting.pop()
        try:
            yield from _folder(root, folder, prefix, waiting)
        except _GONE:
            # Moved or deleted while we looked, or never there: it holds nothing.
            continue
        except PermissionError as error:
            raise refused(root / folder) from error


def _folder(root: Path, folder: str, prefix: str, waiting: list[str]) -> Iterator[StoredObject]:
    with os.scandir(root / folder) as entries:
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if f"{path}/".startswith(prefix) or prefix.startswith(f"{path}/"):
                    waiting.append(path)
            elif path.startswith(prefix) and (seen := _look(entry)) is not None:
                yield described(path, seen)


def _look(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        seen = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return seen if stat.S_ISREG(seen.st_mode) else None


def delete_files(root: Path, files: Sequence[tuple[str, str]]) -> Deleted:
    """Unlink files, each given after the path that a person knows it by; then the folders that became empty.

    Many of them by several threads: a disk that is busy, or on a network, lets one wait for each file.
    """
    parts = [files[start : start + _A_PART] for start in range(0, len(files), _A_PART)]
    if len(parts) > 1:
        with ThreadPoolExecutor(min(_AT_ONCE, len(parts))) as pool:
            unlinked = list(pool.map(_unlink, parts))
    else:
        unlinked = list(map(_unlink, parts))
    _remove_empty(root, {Path(folder) for part in unlinked for folder in part.folders})
    return Deleted(
        sum(part.count for part in unlinked),
        sum(part.missing for part in unlinked),
        tuple(path for part in unlinked for path in part.failed),
        next((part.reason for part in unlinked if part.reason), ""),
    )


@dataclass
class _Unlinked:
    """What became of some files, as in `Deleted`, and the folders that they lay in."""

    count: int = 0
    missing: int = 0
    reason: str = ""
    failed: list[str] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)


def _unlink(files: Sequence[tuple[str, str]]) -> _Unlinked:
    done = _Unlinked()
    for path, file in files:
        try:
            os.unlink(file)  # noqa: PTH108  (a Path for each of many files takes longer than to delete it)
        except _GONE:
            done.missing += 1
        except OSError as error:
            done.reason = error.strerror or str(error)
            done.failed.append(path)
            continue
        else:
            done.count += 1
        done.folders.add(file.rpartition("/")[0])
    return done


def _remove_empty(root: Path, folders: set[Path]) -> None:
    for folder in folders:
        for place in (folder, *folder.parents):
            if place == root or not place.is_relative_to(root):
                break
            try:
                # Only ever takes an empty one; a writer that has just made it and opens its first file now fails, once.
                place.rmdir()
            except _GONE:
                continue
            except OSError:
                # In use again, or not ours to remove: an empty folder harms nobody.
                break


def refused(path: Path) -> SourceRefused:
    """The error for what this user may not read."""
    return SourceRefused(f"{path} may not be read", remedy="Give this user the right to read it.")
