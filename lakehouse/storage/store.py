"""What every store of objects offers, wherever it is. How each does it does not belong here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Deleted:
    """What became of the paths given to `delete`: their numbers, and those that the store would not delete.

    `missing`: those that were not there any more. S3 does not tell, and counts them as deleted. `reason`: what the
    store said of one that it would not delete.
    """

    count: int = 0
    missing: int = 0
    failed: tuple[str, ...] = ()
    reason: str = field(default="", compare=False)


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

    def walk(self, prefix: str = "") -> Iterator[StoredObject]:
        """Everything whose path begins with `prefix`, hidden names too, in no order; few of them are in memory at once.

        Left out: links in a folder, and the keys by which some programs mark a folder in a bucket. What comes or goes
        meanwhile may be in it or not. Raises SourceUnreachable, SourceRefused.
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

    def delete(self, paths: Iterable[str]) -> Deleted:
        """Delete objects for good; one that is not there is no error, one that stays is in `failed` and in the log.

        Folders that become empty go too. Raises SourceRefused for a path outside, and SourceRefused or
        SourceUnreachable when the store takes no request at all: what was deleted before that is gone.
        """
        ...
