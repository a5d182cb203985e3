"""What is to be read of a text file that is new or has changed: all of it, or what was added behind what is known.

A text file in a folder is known by a digest of its bytes too: one that begins with all that was read of it has grown,
and only its new lines are read. Any other change makes it another file of the same name, which is read whole. Before
they are read, its records are counted by their bytes. What the records are does not belong here.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO

from lakehouse.errors import SourceChanged
from lakehouse.sources.counts import counter_of
from lakehouse.sources.csv_lines import behind_header
from lakehouse.sources.lines import TextFile, hold_memory
from lakehouse.storage import StoredObject

if TYPE_CHECKING:
    from typing_extensions import Buffer

_BLOCK = 1024 * 1024
_REMEMBERED = 100
"""So many files, those changed last, are known by their content: a file grows while it is young."""

Known = list[Any]
"""What a file is known by in a position: `[bytes, version]`, and a text file by `lines, their bytes, digest` as well.

The lines are those that have an end; the digest is of all bytes.
"""


@dataclass(frozen=True)
class Part:
    """What is to be read of a file, which will be `known` so: all of it, or from `text.at` on.

    `records` is how many there are, where that could be counted; `digest` that of the bytes to read, where they were
    looked at before.
    """

    seen: StoredObject
    text: TextFile
    known: Known
    records: int | None = None
    digest: str | None = None


def signature(seen: StoredObject) -> Known:
    """What every file is known by."""
    return [seen.size, seen.version]


def remembered(files: dict[str, Known]) -> dict[str, Known]:
    """The files of a position: those that are old by now are known by their signatures alone."""
    young = sorted((known[1], path) for path, known in files.items() if known[2:])[-_REMEMBERED:]
    kept = {path for _, path in young}
    return {path: known if path in kept else known[:2] for path, known in files.items()}


def part_of(stored: BinaryIO, seen: StoredObject, text: TextFile, kind: str, before: Known | None) -> Part:
    """Look at the bytes of a text file that is not packed; `before` is what it was known by, if it was."""
    if before and before[2:] and before[0] <= seen.size and _digest(stored, 0, before[0]) == before[4]:
        grown = _behind(stored, text, kind, before)
        if grown is None:
            known = [*signature(seen), *before[2:4], _digest(stored, 0, seen.size)]
            return Part(seen, replace(text, at=seen.size), known, 0, _digest(stored, seen.size, seen.size))
        text = grown
    bounded = _Bounded(stored, text.at, seen.size)
    with io.BufferedReader(bounded, _BLOCK) as stream:
        records, lines, whole = _counted(stream, text, kind, seen.size)
        digest = bounded.to_the_end(stream)
    known = signature(seen)
    if records is not None and _is_end(stored, whole, kind):
        known += [lines, whole, _digest(stored, 0, seen.size) if text.at else digest]
    return Part(seen, text, known, records, digest)


def count_packed(stream: BinaryIO, text: TextFile, kind: str) -> int | None:
    """How many records a packed text file holds."""
    return _counted(stream, text, kind, None)[0]


def _behind(stored: BinaryIO, text: TextFile, kind: str, before: Known) -> TextFile | None:
    """Where to read on in a file that has grown; None where it was touched, or only white space without an end came."""
    size, _, lines, whole, _ = before
    stored.seek(0)
    header = behind_header(stored, text).header if kind == "csv" else None
    stored.seek(whole)
    last, added = stored.read(size - whole), stored.readline()
    more = added.strip(b"\r\n" if kind == "csv" else None)
    if not more and not added.endswith(b"\n"):
        return None
    if not last:
        return replace(text, lines=lines, at=size, header=header)
    if more:
        # A part of the last line was there, and was read as such: it is read again, now that there is more of it.
        return replace(text, lines=lines, at=whole, header=header)
    return replace(text, lines=lines + last.count(b"\n") + 1, at=size + len(added), header=header)


def _counted(stream: BinaryIO, text: TextFile, kind: str, size: int | None) -> tuple[int | None, int, int]:
    """The records from where the stream stands; the lines of the file up to the last that has an end, their bytes."""
    hold_memory()
    if kind == "csv" and text.header is None:
        text = behind_header(stream, text)
        if not text.header:
            # Nothing at all, or one record that is broken.
            return int(text.header is None), 0, 0
    counter = counter_of(text, kind)
    for data in _blocks(stream, None if size is None else size - text.at):
        counter.add(data)
    counter.end()
    return counter.records, text.lines + counter.lines, text.at + counter.whole


def _is_end(stored: BinaryIO, whole: int, kind: str) -> bool:
    """Whether a line ends there. A CSV file whose header may not be whole yet has none."""
    if not whole:
        return kind != "csv"
    stored.seek(whole - 1)
    return stored.read(1) == b"\n"


@contextmanager
def exactly(stored: BinaryIO, part: Part, root: str) -> Iterator[BinaryIO]:
    """The bytes of a part as they were looked at. Raises SourceChanged at the end when they were others."""
    bounded = _Bounded(stored, part.text.at, part.seen.size)
    stream = io.BufferedReader(bounded, _BLOCK)
    yield stream
    if bounded.to_the_end(stream) != part.digest:
        raise SourceChanged(f"{part.seen.path} in {root} was changed after it was listed", remedy="Load again.")


class _Bounded(io.RawIOBase):
    """A part of a stream, with the digest of what was read of it."""

    def __init__(self, stored: BinaryIO, begin: int, end: int) -> None:
        super().__init__()
        # Processors of today have instructions for SHA-256, and all bytes go through it twice.
        self._stored, self._left, self._digest = stored, end - begin, hashlib.sha256(usedforsecurity=False)
        stored.seek(begin)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill a part of the buffer; 0 at the end."""
        into = memoryview(buffer).cast("B")
        data = self._stored.read(min(len(into), self._left))
        into[: len(data)] = data
        self._left -= len(data)
        self._digest.update(data)
        return len(data)

    def to_the_end(self, stream: BinaryIO) -> str:
        """Read what is left, through the stream that reads this one; returns the digest of all: 24 hex digits."""
        while stream.read(_BLOCK):
            pass
        return self._digest.hexdigest()[:24]


def _digest(stored: BinaryIO, begin: int, end: int) -> str:
    bounded = _Bounded(stored, begin, end)
    with io.BufferedReader(bounded, _BLOCK) as stream:
        return bounded.to_the_end(stream)


def _blocks(stream: BinaryIO, size: int | None) -> Iterator[bytes]:
    """So many bytes of a stream, or all of them."""
    left = _BLOCK if size is None else size
    while left > 0 and (data := stream.read(min(left, _BLOCK))):
        left -= len(data) if size is not None else 0
        yield data
