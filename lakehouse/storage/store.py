"""What every store of objects offers, wherever it is. How each does it does not belong here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol


@dataclass(frozen=True, order=True)
class StoredObject:
    """One object. `size` in bytes, `modified` in UTC.

    `version` changes whenever the content does: the nanoseconds of a file's last change, or an object's ETag.
    """

    path: str
    size: int
    modified: datetime
    version: int | str


class Store(Protocol):
    """A folder or a bucket. Paths are relative to its root, with `/` between their parts."""

    @property
    def root(self) -> str:
        """The place, as a person would write it."""
        ...

    def list(self, prefix: str = "", *, deep: bool = True) -> Iterator[StoredObject]:
        """Every object whose path begins with `prefix`, by path; not `deep`: only those without a further `/`.

        Raises SourceUnreachable, SourceRefused.
        """
        ...

    def open(self, path: str, *, version: int | str | None = None) -> BinaryIO:
        """The object's bytes, from the beginning; seekable, and never whole in memory.

        Raises SourceChanged when it is gone or is not the `version` asked for (in a bucket also while it is read),
        SourceRefused, SourceUnreachable.
        """
        ...

    def put(self, path: str, content: bytes) -> None:
        """Write an object, or replace it: readers see the old one or the new one, never a part.

        Raises StateError when a disk refuses it, SourceRefused, SourceUnreachable.
        """
        ...
