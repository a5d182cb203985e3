"""Rows that wait on this machine's disk, because memory has no room for them and it is not yet their turn.

In which order they come back is the caller's: `sort.py` merges them, `writer.py` takes them partition by partition.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import IO, NamedTuple, Self, TypeAlias

import pyarrow as pa

from lakehouse.errors import StateError

_CHUNK_BYTES = 2**20


class Chunk(NamedTuple):
    """Where one batch stands in the spill: `offset` and `length` of its bytes there, `size` of its bytes in memory."""

    offset: int
    length: int
    size: int


Run: TypeAlias = list[Chunk]
"""Batches that belong together, in their order."""


class Spill:
    """One temporary file of batches of one schema (Arrow IPC, LZ4), not before the first batch is put into it.

    The file has no name (O_TMPFILE, or unlinked at once), so it goes with the process, even a killed one. Where it is
    made is Python's `tempfile`: TMPDIR, else /tmp. Raises StateError when the disk there is full or fails.
    """

    def __init__(self, schema: pa.Schema, *, chunk_bytes: int = _CHUNK_BYTES) -> None:
        self._schema = schema
        self._chunk_bytes = chunk_bytes
        self._codec = pa.Codec("lz4_raw")
        self._file: IO[bytes] | None = None
        self.bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the room back."""
        if self._file is not None:
            # Nothing in it is needed any more: that its last bytes do not fit the disk is no failure.
            with suppress(OSError):
                self._file.close()

    def put(self, rows: pa.Table) -> Run:
        """Store rows in chunks of about `chunk_bytes`."""
        size = max(1, rows.num_rows * self._chunk_bytes // max(1, rows.nbytes))
        return [self._store(batch) for batch in _batches(rows, size)]

    def read(self, run: Iterable[Chunk]) -> Iterator[pa.RecordBatch]:
        """The batches of a run, one at a time."""
        for chunk in run:
            with _disk():
                file = self._opened()
                file.seek(chunk.offset)
                stored = file.read(chunk.length)
            yield pa.ipc.read_record_batch(self._codec.decompress(stored, chunk.size), self._schema)

    def _store(self, batch: pa.RecordBatch) -> Chunk:
        plain = batch.serialize()
        stored = self._codec.compress(plain)
        chunk = Chunk(self.bytes, stored.size, plain.size)
        with _disk():
            file = self._opened()
            file.seek(chunk.offset)
            file.write(stored)
        self.bytes += stored.size
        return chunk

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  (closed by this class's __exit__)
        return self._file


def bytes_of(runs: Sequence[Run]) -> int:
    """What runs take in memory."""
    return sum(chunk.size for run in runs for chunk in run)


def _batches(rows: pa.Table, size: int) -> Iterator[pa.RecordBatch]:
    """Batches of `size` rows, also where the table's own chunks are smaller."""
    for start in range(0, rows.num_rows, size):
        yield rows.slice(start, size).combine_chunks().to_batches()[0]


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StateError(
            f"rows that wait to be written do not fit the temporary folder {tempfile.gettempdir()}",
            found=error.strerror or str(error),
            remedy="Free some space there, or set TMPDIR to a folder on a larger disk, then run again.",
        ) from error
