"""Encoding in the background: a partition's row groups in their order, two partitions at once.

PyArrow encodes without Python's lock, so rows are read, split and sorted meanwhile. Which rows make a row group is
`writer.py`, what a file is `data_file.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import pyarrow as pa
from pyiceberg.manifest import DataFile

from lakehouse.iceberg.parquet.data_file import FileMaker, OpenFile
from lakehouse.iceberg.parquet.partition import Partition

_AT_ONCE = 2


class Lane:
    """The files of one partition, one after another. `written` are those that are closed and verified."""

    def __init__(self, files: FileMaker, partition: Partition, target_bytes: int) -> None:
        self._files = files
        self._partition = partition
        self._target_bytes = target_bytes
        self._file: OpenFile | None = None
        self.written: list[DataFile] = []
        self.last: Future[None] | None = None

    def add(self, rows: pa.Table) -> None:
        """Write a row group, to a new file where the one before has its size."""
        if self._file is None:
            self._file = self._files.open(self._partition, rows)
        self._files.add(self._file, rows)
        if self._file.bytes >= self._target_bytes:
            self.close()

    def close(self) -> None:
        """Close the file, if one is open."""
        if self._file is not None:
            file, self._file = self._file, None
            self.written.append(self._files.close(file))


class Encoders:
    """Two threads. No more than two row groups are held, and a lane's work is done in order.

    What goes wrong in a thread is raised by a later call, at the latest by `drain`. On leaving, no thread runs.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="parquet")
        self._running: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what runs; drop what has not begun."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def add(self, lane: Lane, rows: pa.Table) -> None:
        """Write a row group of the lane."""
        self._submit(lane, lambda: lane.add(rows))

    def close(self, lane: Lane) -> None:
        """Close the lane's file."""
        self._submit(lane, lane.close)

    def drain(self) -> None:
        """Wait until all is done."""
        while self._running:
            self._running.popleft().result()

    def _submit(self, lane: Lane, work: Callable[[], None]) -> None:
        if lane.last is not None:
            lane.last.result()
        while len(self._running) >= _AT_ONCE:
            self._running.popleft().result()
        lane.last = self._pool.submit(work)
        self._running.append(lane.last)
