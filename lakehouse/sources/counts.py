"""How many records a text file holds, counted by its bytes alone: the other side of what the parsers hand over.

Nothing of a record is understood here. Where bytes cannot tell (odd quotes in CSV), the count is None, not a guess.
"""

from __future__ import annotations

import csv
import re
from typing import Protocol

import numpy as np

from lakehouse.sources.lines import BOM, UTF8, TextFile

_MOST = 1024 * 1024
"""The longest CSV record that is counted with quotes in it."""
_NEWLINE, _SPACE = b"\n "


class Counter(Protocol):
    """Is given the bytes of a file in order. After `end`, `records` is how many there are, None if nobody can say.

    `whole` and `lines`: the bytes and line ends of those records that a line end closes.
    """

    records: int | None
    whole: int
    lines: int

    def add(self, data: bytes) -> None:
        """Take the bytes that come next."""
        ...

    def end(self) -> None:
        """Say that there are no more."""
        ...


def counter_of(text: TextFile, kind: str) -> Counter:
    """The counter for a text file, from the bytes on that `text` begins with (of CSV: that follow its header)."""
    return CsvCount(text.delimiter) if kind == "csv" else JsonCount(bom=text.at == 0 and text.encoding == UTF8)


class JsonCount:
    """Lines that are not blank."""

    def __init__(self, *, bom: bool) -> None:
        """`bom`: the bytes may begin with a byte order mark."""
        self.records: int | None = 0
        self.whole = self.lines = 0
        self._read, self._filled, self._bom = 0, False, bom

    def add(self, data: bytes) -> None:
        """Count the lines that end here."""
        if self._bom:
            without, self._bom = data.removeprefix(BOM), False
            self._read += len(data) - len(without)
            data = without
        letters = np.frombuffer(data, np.uint8)
        ends = np.flatnonzero(letters == _NEWLINE)
        rest = data
        if len(ends):
            first, last = int(ends[0]), int(ends[-1])
            self.lines += len(ends)
            self.whole = self._read + last + 1
            # No white space of ASCII comes behind the space. Nearly no line begins with any, and to look is cheap.
            if (letters[ends[:-1] + 1] <= _SPACE).any():
                filled = sum(1 for line in data[first + 1 : last].split(b"\n") if line.strip())
            else:
                filled = len(ends) - 1
            self.records = (self.records or 0) + filled + (self._filled or bool(data[:first].strip()))
            rest, self._filled = data[last + 1 :], False
        self._read += len(data)
        self._filled = self._filled or bool(rest.strip())

    def end(self) -> None:
        """Count a last line without an end."""
        self.records = (self.records or 0) + self._filled


class CsvCount:
    """Records whose quotes are in order."""

    def __init__(self, delimiter: str) -> None:
        other = re.escape(delimiter.encode())
        field = rb'(?>"(?>[^"]++|"")*+"|[^"\r\n' + other + rb"]*+)"
        self._record = re.compile(field + rb"(?>" + other + field + rb")*+\r?\n")
        self.records: int | None = 0
        self.whole = self.lines = 0
        self._rest = b""

    def add(self, data: bytes) -> None:
        """Count the records that end here."""
        if self.records is None:
            return
        data = self._rest + data
        plain = b'"' not in data and data.count(b"\r") == data.count(b"\r\n") + data.endswith(b"\r")
        cut = self._plain(data) if plain else self._quoted(data)
        self.whole, self.lines, self._rest = self.whole + cut, self.lines + data.count(b"\n", 0, cut), data[cut:]
        if len(self._rest) > _MOST:
            self.records = None

    def end(self) -> None:
        """Count a last record without an end; what is left over is not in order."""
        if self._rest and self.records is not None:
            whole, lines = self.whole, self.lines
            self.add(b"\n")
            if self._rest:
                self.records = None
            self.whole, self.lines = whole, lines

    def _plain(self, data: bytes) -> int:
        lines = data.split(b"\n")
        self.records = (self.records or 0) + len(lines) - 1 - lines[:-1].count(b"") - lines[:-1].count(b"\r")
        return len(data) - len(lines[-1])

    def _quoted(self, data: bytes) -> int:
        place = 0
        while self.records is not None and (found := self._record.match(data, place)):
            size, place = found.end() - place, found.end()
            # The parser gives up in the midst of a longer field, and takes the rest of it for another record.
            self.records = None if size > csv.field_size_limit() else self.records + bool(found.group().strip(b"\r\n"))
        return place
