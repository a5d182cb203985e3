"""What a source is: the one page to read before writing another.

A source answers `read(since)` with an `Extract`: the position it will have reached, known before the first row is
read, and the rows as chunks of bounded size. The position is stored with the rows, in one commit, and handed back at
the next load; only its source understands it. A reader therefore never keeps state of its own, and may be killed at
any moment.

Rules every reader keeps: the same position and the same bound yield the same rows; nothing is dropped (a record that
cannot be parsed becomes `Broken`); coordinates let a person find the record again; a library's error leaves as a
SourceError.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, runtime_checkable

import pyarrow as pa

from lakehouse.tables import Position, Window

MAX_PAYLOAD = 64 * 1024
"""The most bytes of one rejected record that are kept."""


@dataclass(frozen=True)
class Broken:
    """A record that did not even parse: its first bytes, where it stands, why, and how many bytes came of it.

    `size` is the payload's own unless whoever read the record has cut it already.
    """

    payload: bytes
    source: str
    error: str
    size: int = 0

    def __post_init__(self) -> None:
        """Bound the payload: a broken file may be one endless line."""
        object.__setattr__(self, "size", max(self.size, len(self.payload)))
        object.__setattr__(self, "payload", self.payload[:MAX_PAYLOAD])


@dataclass(frozen=True)
class Chunk:
    """Some rows, at most some tens of thousands.

    `rows` has the source's columns by name, as text or typed. `source` holds the coordinates: one for all rows, or one
    string per row. A column `_source_version`, if there is one, is stored as such. `payload` is the original text of
    each row, where the source has one: it is what a rejected row is kept as; without it, that is the row as JSON.
    `extra` is for each row the JSON object of what the source has and the contract does not name, NULL for nothing; a
    column of `rows` that the contract does not name is kept there too, as text. A reader need not leave such columns
    out, but those that the load option `ignore` names may cost nothing (`LoadPolicy.ignored`).
    """

    rows: pa.Table
    source: pa.ChunkedArray | str
    broken: tuple[Broken, ...] = ()
    payload: pa.ChunkedArray | None = None
    extra: pa.ChunkedArray | None = None

    def coordinate(self, row: int) -> str:
        """Where a row of this chunk came from."""
        return self.source if isinstance(self.source, str) else str(self.source[row].as_py())

    @property
    def count(self) -> int:
        """Records in this chunk, the broken ones too."""
        return len(self.rows) + len(self.broken)


@dataclass(frozen=True)
class Compare:
    """How to know those rows of an extract that bronze has already: they are counted as seen, and not added again.

    A row is known when bronze has its `key` with the same `version`: SQL over `_source_version` (DuckDB's), or None for
    the values of all columns that the source has. Without a key, rows are known by all these values, as often as bronze
    has them. With `latest`, only the newest row of each key counts, so that a value that comes back is a new version.
    `deletions` says that the extract is all there is: keys of bronze that are not in it were deleted. `where`, an
    Iceberg filter, narrows which rows of bronze can be meant.
    """

    key: tuple[str, ...] = ()
    version: str | None = None
    latest: bool = False
    deletions: bool = False
    where: str | None = None


@dataclass
class Extract:
    """One read: chunks, to be iterated once; the position reached; and how many records the source says there are.

    `expected_rows` is counted by the source itself, not by whoever made the chunks, or is None where it cannot say. A
    source that finds on its way that nobody can say sets it to None: it counts after the last chunk.
    `expected_bytes` is the size of what is read, where it is known. `compare` is stated by a source that may hand over
    rows a second time. `more` says that the position reached is a part of the way only: read again at once. `held_back`
    is how far a transaction in flight holds the position back. `retries` answers how often something was asked again so
    far.
    """

    chunks: Iterator[Chunk]
    reached: Position
    expected_rows: int | None = None
    expected_bytes: int | None = None
    compare: Compare | None = None
    more: bool = False
    held_back: timedelta | None = None
    retries: Callable[[], int] = int

    def close(self) -> None:
        """Give back what the read holds open (a transaction, a file), also when nobody read on."""
        if isinstance(self.chunks, Generator):
            self.chunks.close()


@dataclass(frozen=True)
class SourceColumn:
    """A column as the source describes it, in the source's own type names.

    Types are compared with the contract's where the name is one of PostgreSQL's or Arrow's. The type `JSON` is that of
    a record's field, which a record may lack.
    """

    name: str
    type: str
    nullable: bool


class SourceReader(Protocol):
    """A source opened for one table. Every method raises only SourceError (and ContractError for wrong options)."""

    def read(self, since: Position | None) -> Extract | None:
        """What has come after `since` (None: everything), or None if nothing has."""
        ...

    def pending(self, since: Position | None) -> bool:
        """Whether `read(since)` would have something now; asked every few seconds, so no more is read than it takes.

        True is no promise that a load succeeds: whether the source still fits the contract is `read`'s to say.
        """
        ...

    def columns(self) -> tuple[SourceColumn, ...]:
        """What the source offers: from its catalogue, or from a sample where it has none; nothing if it cannot say.

        A load compares it with the contract after `read`, before the first chunk is asked for.
        """
        ...


@runtime_checkable
class RangeReader(SourceReader, Protocol):
    """A source that can be asked for days again, whatever was read of it before."""

    def between(self, window: Window) -> Extract | None:
        """What the source has of these days (UTC, by its watermark or its files' days), or None.

        Its `reached` counts for nothing: a window that is read again moves no progress.
        """
        ...
