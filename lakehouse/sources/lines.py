"""Text files by lines, with line numbers, and without trusting them: wrong encodings and endless lines are faults.

What a line means belongs in `json_lines.py` and `csv_lines.py`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import BinaryIO, cast

import numpy as np

ROWS = 65_536
"""The most rows of one chunk."""
BYTES = 16 * 1024 * 1024
"""About how much text goes into one chunk, if its lines are long."""
MAX_LINE = 8 * 1024 * 1024
"""The longest line that is read; the rest of a longer one is skipped."""
BLANK = " \t\r\n\v\f"
"""What a line without a record consists of: the white space of ASCII, so that bytes and text agree on it."""
UTF8 = "utf-8"
BREAKS = (OSError, EOFError, zlib.error)
"""What a packed stream raises where it breaks off; what came before is handed over all the same."""
BOM = b"\xef\xbb\xbf"

_BLOCK = 1024 * 1024
_HELD = 31 * 1024 * 1024
"""Just below the largest size that glibc learns from (`mallopt(3)`, M_MMAP_THRESHOLD)."""


@dataclass(frozen=True)
class TextFile:
    """A text file and how it is read. So many `lines` and bytes (`at`) precede what the stream begins with.

    `delimiter` and `header` are for CSV: without a `header` the first record is it. `rows` is the most of one chunk.
    """

    path: str
    encoding: str = UTF8
    delimiter: str = ","
    lines: int = 0
    at: int = 0
    header: tuple[str, ...] | None = None
    rows: int = ROWS


def placed(error: str, line: int, at: int) -> str:
    """An error with the place of its record in the file (unpacked, where it is packed)."""
    return f"{error} (line {line}, from byte {at})"


def hold_memory() -> None:
    """Keep the memory of one block's arrays for those of the next.

    glibc gives memory back to the system at once until it has seen a block of this size go. To get it again for each
    block of a file, page by page, is an eighth of the work of a load.
    """
    np.empty(_HELD, np.uint8)


def blocks(stream: BinaryIO, at: int = 0) -> Iterator[tuple[int, bytes]]:
    """Whole lines, about a MiB at a time, each block with the place of its first byte; `at` is that of the stream's.

    Of a line longer than `MAX_LINE` one byte more than that is left.
    """
    hold_memory()
    rest = b""
    # One step of what is below, so that all that comes before the break of a packed file is handed over.
    read = cast("BufferedReader", stream).read1
    while data := read(_BLOCK):
        data = rest + data
        cut = data.rfind(b"\n") + 1
        if cut:
            yield at, data[:cut]
        elif len(data) > MAX_LINE:
            yield at, data[: MAX_LINE + 1] + b"\n"
            while data and b"\n" not in data:
                at += len(data)
                data = read(_BLOCK)
            cut = data.find(b"\n") + 1
        at += cut
        rest = data[cut:]
    if rest:
        yield at, rest


class Lines(Iterator[str]):
    """The lines of a stream, with their line ends.

    After each step, `number` is the line's number (from 1), `at` the place of its first byte, `end` the one behind its
    last, `raw` its bytes, and `fault` says what is wrong with it, if anything is; a line with a fault is handed over
    with its undecodable bytes escaped.
    """

    def __init__(self, stream: BinaryIO, file: TextFile) -> None:
        self._stream, self._encoding = stream, file.encoding
        self.number = file.lines
        self.at = self.end = file.at
        self.raw = b""
        self.fault: str | None = None

    def __next__(self) -> str:
        """The next line. Raises what the stream raises (a broken gzip does)."""
        line = self._stream.readline(MAX_LINE + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self.fault = None
        self.at, self.end = self.end, self.end + len(line)
        if len(line) > MAX_LINE and not line.endswith(b"\n"):
            self.fault = f"the line is longer than {MAX_LINE} bytes"
            self._skip_rest()
        if self.number == 1 and self._encoding == UTF8:
            line = line.removeprefix(BOM)
        self.raw = line
        try:
            return line.decode(self._encoding)
        except UnicodeDecodeError as error:
            wrong = f"not {self._encoding.upper()}: byte 0x{line[error.start]:02x} at {error.start + 1}"
            self.fault = self.fault or wrong
            return line.decode(self._encoding, errors="backslashreplace")

    def _skip_rest(self) -> None:
        while part := self._stream.readline(MAX_LINE):
            self.end += len(part)
            if part.endswith(b"\n"):
                return
