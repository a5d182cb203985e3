"""Everything that lies in a folder, as a stream, and files going for good.

Listing as for a delivery, where hidden names are others' business, is `folder.py`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from lakehouse.errors import SourceRefused
from lakehouse.storage.store import Deleted, StoredObject

_GONE = (FileNotFoundError, NotADirectoryError)


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


def delete_files(root: Path, files: Iterable[tuple[str, Path]]) -> Deleted:
    """Unlink files, each given with the path that a person knows it by; then the folders that became empty."""
    count = missing = 0
    reason, failed = "", list[str]()
    folders: set[Path] = set()
    for path, file in files:
        try:
            file.unlink()
        except _GONE:
            missing += 1
        except OSError as error:
            reason = error.strerror or str(error)
            failed.append(path)
            continue
        else:
            count += 1
        folders.add(file.parent)
    _remove_empty(root, folders)
    return Deleted(count, missing, tuple(failed), reason)


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
