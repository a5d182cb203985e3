"""What every store of objects offers, wherever it is. How each does it does not belong here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol


@dataclass(frozen=True, order=True)
class StoredObject:
    """One object. `size` in bytes, `modified` in UTC; `etag` changes whenever the content does."""

    path: str
    size: int
    modified: datetime
    etag: str


class Store(Protocol):
    """A folder or a bucket. Paths are relative to its root, with `/` between their parts."""

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Every object whose path begins with `prefix`, by path. Raises SourceUnreachable, SourceRefused."""
        ...

    def open(self, path: str) -> BinaryIO:
        """The object's bytes, from the beginning. Raises SourceChanged when it is gone, SourceRefused."""
        ...
