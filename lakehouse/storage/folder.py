"""A store that is a folder of this machine: listing, reading and writing as for a delivery.

Looking at everything in it and deleting is `folder_walk.py`; what its files mean does not belong here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from lakehouse.errors import SourceChanged, SourceRefused, SourceUnreachable
from lakehouse.storage.folder_walk import delete_files, described, refused, walk_files
from lakehouse.storage.room import no_room
from lakehouse.storage.store import Deleted, StoredObject


class FolderStore:
    """Files below `root`. Names that begin with a dot are others' business (temporary files, `.DS_Store`)."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._top = os.path.normpath(root)

    @property
    def root(self) -> str:
        """The folder."""
        return str(self._root)

    def list(self, prefix: str = "", *, deep: bool = True) -> Iterator[StoredObject]:
        """Every file whose relative path begins with `prefix`, by path. Raises SourceUnreachable, SourceRefused."""
        self._present()
        if any(part.startswith(".") for part in prefix.split("/")):
            return
        # Everything is looked at before the first is given out, so that a long read does not see half of a delivery.
        files = self._files(self._root / prefix.rpartition("/")[0], deep=deep)
        found = [seen for file in files if (seen := self._look(file)) and seen.path.startswith(prefix)]
        yield from sorted(found)

    def open(self, path: str, *, version: int | str | None = None) -> BinaryIO:
        """The file's bytes. Raises SourceChanged when it is gone or another; SourceRefused, also for a path outside."""
        file = self._inside(path)
        try:
            stream = file.open("rb")
        except (FileNotFoundError, IsADirectoryError):
            raise SourceChanged(f"{path} is not in {self._root} any more", remedy="Deliver the file again.") from None
        except PermissionError:
            raise refused(file) from None
        if version is not None and os.fstat(stream.fileno()).st_mtime_ns != version:
            stream.close()
            raise SourceChanged(f"{path} in {self._root} was changed after it was listed", remedy="Load again.")
        return stream

    def put(self, path: str, content: bytes) -> None:
        """Write under a hidden name, then rename. Raises StateError when the disk refuses it."""
        file = self._inside(path)
        fresh = file.with_name(f".{file.name}.new")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            fresh.replace(file)
        except OSError as error:
            raise no_room(error, file.parent) from error

    def walk(self, prefix: str = "") -> Iterator[StoredObject]:
        """Every file, hidden ones too, in no order; links are not followed. Raises SourceUnreachable, SourceRefused."""
        self._present()
        self._inside(prefix)
        return walk_files(self._root, prefix)

    def delete(self, paths: Iterable[str]) -> Deleted:
        """Unlink files, and the folders below the root that become empty. Raises SourceRefused for a path outside."""
        return delete_files(Path(self._top), [(path, self._within(path)) for path in paths])

    def _present(self) -> None:
        if not self._root.is_dir():
            raise SourceUnreachable(
                f"there is no folder {self._root}", remedy="Create it, or mend the source's `root`."
            )

    def _inside(self, path: str) -> Path:
        return Path(self._within(path))

    def _within(self, path: str) -> str:
        # By name only: a link that somebody put into the folder is theirs to follow. And not by Path, which takes
        # several times as long: of this there may be hundreds of thousands.
        file = os.path.normpath(os.path.join(self._top, path))  # noqa: PTH118  (see above)
        if file != self._top and not file.startswith(f"{self._top.rstrip('/')}/"):
            raise SourceRefused(f"{path!r} leads out of {self._root}", remedy="Name a file below the folder.")
        return file

    def _files(self, start: Path, *, deep: bool) -> Iterator[Path]:
        def fail(error: OSError) -> None:
            # A folder may be moved away while we look; one that was never there holds nothing.
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                raise refused(Path(error.filename or start)) from error

        seen: set[str] = set()
        for folder, folders, names in os.walk(start, onerror=fail, followlinks=True):
            # Links may lead in a circle.
            seen.add(os.path.realpath(folder))
            within = [name for name in folders if not name.startswith(".")] if deep else []
            folders[:] = [name for name in within if os.path.realpath(Path(folder, name)) not in seen]
            yield from (Path(folder, name) for name in names if not name.startswith("."))

    def _look(self, file: Path) -> StoredObject | None:
        try:
            seen = file.stat()
        except FileNotFoundError:
            # Moved away between listing and looking: as if it had never been listed.
            return None
        if not stat.S_ISREG(seen.st_mode):
            return None
        return described(file.relative_to(self._root).as_posix(), seen)
