"""A store that is a folder of this machine. What its files mean does not belong here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from lakehouse.errors import SourceChanged, SourceRefused, SourceUnreachable
from lakehouse.storage.store import StoredObject


class FolderStore:
    """Files below `root`. Names that begin with a dot are others' business (temporary files, `.DS_Store`)."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Every file whose relative path begins with `prefix`, by path. Raises SourceUnreachable, SourceRefused."""
        if not self._root.is_dir():
            raise SourceUnreachable(
                f"there is no folder {self._root}", remedy="Create it, or mend the source's `root`."
            )
        # Everything is looked at before the first is given out, so that a long read does not see half of a delivery.
        found = [seen for file in self._files() if (seen := self._look(file)) and seen.path.startswith(prefix)]
        yield from sorted(found)

    def open(self, path: str) -> BinaryIO:
        """The file's bytes. Raises SourceChanged when it is gone or lies outside the root, SourceRefused."""
        file = (self._root / path).resolve()
        if not file.is_relative_to(self._root.resolve()):
            raise SourceRefused(f"{path!r} leads out of {self._root}", remedy="Name a file below the folder.")
        try:
            return file.open("rb")
        except (FileNotFoundError, IsADirectoryError):
            raise SourceChanged(f"{path} is not in {self._root} any more", remedy="Deliver the file again.") from None
        except PermissionError:
            raise _refused(file) from None

    def _files(self) -> Iterator[Path]:
        def fail(error: OSError) -> None:
            raise _refused(Path(error.filename or self._root)) from error

        for folder, folders, names in os.walk(self._root, onerror=fail):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from (Path(folder, name) for name in names if not name.startswith("."))

    def _look(self, file: Path) -> StoredObject | None:
        try:
            seen = file.stat()
        except FileNotFoundError:
            # Moved away between listing and looking: as if it had never been listed.
            return None
        return StoredObject(
            path=file.relative_to(self._root).as_posix(),
            size=seen.st_size,
            modified=datetime.fromtimestamp(seen.st_mtime, UTC),
            etag=f"{seen.st_mtime_ns:x}-{seen.st_size:x}",
        )


def _refused(path: Path) -> SourceRefused:
    return SourceRefused(f"{path} may not be read", remedy="Give this user the right to read it.")
