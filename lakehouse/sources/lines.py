"""Text files by lines, with line numbers, and without trusting them: wrong encodings and endless lines are faults.

What a line means belongs in `json_lines.py` and `csv_lines.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

ROWS = 65_536
"""The most rows of one chunk."""
BYTES = 16 * 1024 * 1024
"""About how much text goes into one chunk, if its lines are long."""
MAX_LINE = 8 * 1024 * 1024
"""The longest line that is read; the rest of a longer one is skipped."""

_BOM = b"\xef\xbb\xbf"
_BLOCK = 1024 * 1024


def blocks(stream: BinaryIO) -> Iterator[bytes]:
    """Whole lines, about a MiB at a time. Of a line longer than `MAX_LINE` one byte more than that is left."""
    rest = b""
    while data := stream.read(_BLOCK):
        data = rest + data
        cut = data.rfind(b"\n") + 1
        if cut:
            yield data[:cut]
        elif len(data) > MAX_LINE:
            yield data[: MAX_LINE + 1] + b"\n"
            while data and b"\n" not in data:
                data = stream.read(_BLOCK)
            cut = data.find(b"\n") + 1
            if cut:
                data, cut = data[cut:], 0
        rest = data[cut:]
    if rest:
        yield rest


class Lines(Iterator[str]):
    """The lines of a stream, with their line ends.

    After each step, `number` is the line's number (from 1), `raw` its bytes, and `fault` says what is wrong with it, if
    anything is; a line with a fault is handed over with its undecodable bytes escaped.
    """

    def __init__(self, stream: BinaryIO, *, before: int = 0) -> None:
        """`before` is the number of lines that precede the stream's first."""
        self._stream = stream
        self.number = before
        self.raw = b""
        self.fault: str | None = None

    def __next__(self) -> str:
        """The next line. Raises what the stream raises (a broken gzip does)."""
        line = self._stream.readline(MAX_LINE + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self.fault = None
        if len(line) > MAX_LINE and not line.endswith(b"\n"):
            self.fault = f"the line is longer than {MAX_LINE} bytes"
            self._skip_rest()
        if self.number == 1:
            line = line.removeprefix(_BOM)
        self.raw = line
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            self.fault = self.fault or f"not UTF-8: byte 0x{line[error.start]:02x} at {error.start + 1}"
            return line.decode(errors="backslashreplace")

    def _skip_rest(self) -> None:
        while part := self._stream.readline(MAX_LINE):
            if part.endswith(b"\n"):
                return
