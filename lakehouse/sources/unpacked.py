"""What a packed file holds: gzip, bzip2 and Zstandard, told by the last suffix of its name."""

from __future__ import annotations

import bz2
import gzip
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader, RawIOBase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast

import pyarrow as pa

if TYPE_CHECKING:
    from typing_extensions import Buffer

_STEP = 64 * 1024


def _gzip(stored: BinaryIO) -> BinaryIO:
    return cast("BinaryIO", gzip.GzipFile(fileobj=stored))


def _bzip2(stored: BinaryIO) -> BinaryIO:
    return cast("BinaryIO", bz2.BZ2File(stored))


class _Zstd(RawIOBase):
    """Arrow's stream in small steps: where it breaks off, the step is lost."""

    def __init__(self, stored: BinaryIO) -> None:
        super().__init__()
        self._stream = pa.CompressedInputStream(stored, "zstd")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill a part of the buffer; 0 at the end."""
        into = memoryview(buffer).cast("B")
        data = self._stream.read(min(len(into), _STEP))
        into[: len(data)] = data
        return len(data)


def _zstd(stored: BinaryIO) -> BinaryIO:
    return BufferedReader(_Zstd(stored))


_OPEN: dict[str, Callable[[BinaryIO], BinaryIO]] = {".gz": _gzip, ".bz2": _bzip2, ".zst": _zstd}
PACKED = tuple(_OPEN)
"""The suffixes of packed files."""


def plain_name(path: str) -> str:
    """A path without the suffix of its packing."""
    return path.removesuffix(packing) if (packing := PurePosixPath(path).suffix) in _OPEN else path


@contextmanager
def unpacked(stored: BinaryIO, path: str, *, jumps: bool) -> Iterator[BinaryIO]:
    """The bytes that a file holds; packed ones in a temporary file for a reader that `jumps` about in it."""
    packing = PurePosixPath(path).suffix
    if packing not in _OPEN:
        yield stored
        return
    with _OPEN[packing](stored) as stream:
        if not jumps:
            yield stream
            return
        with tempfile.TemporaryFile() as whole:
            shutil.copyfileobj(stream, whole)
            whole.seek(0)
            yield cast("BinaryIO", whole)
