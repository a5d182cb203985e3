"""Rows to Parquet files of a table, in bounded memory: what waits where, and which file is written when.

The files it makes belong to no snapshot yet: that is `commit.py`. Rows arrive conformed (`conform.py`). One file is
`data_file.py`, threads are `encode.py`, rows on disk `spill.py`, their order `sort.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table import TableProperties

from lakehouse.iceberg.parquet.data_file import FileMaker
from lakehouse.iceberg.parquet.encode import Encoders, Lane
from lakehouse.iceberg.parquet.partition import Partition, Splitter
from lakehouse.iceberg.parquet.sort import RowOrder
from lakehouse.iceberg.parquet.spill import Run, Spill

MAX_OPEN_FILES = 16
_MB = 2**20
_GROUP_BYTES = 48 * _MB
_LEAST_GROUP_BYTES = 4 * _MB
_BUFFER_BYTES = 64 * _MB
_SORT_BYTES = 48 * _MB
"""Less than the buffer: sorting takes a copy."""


def write_files(table: IcebergTable, batches: Iterable[pa.RecordBatch]) -> tuple[DataFile, ...]:
    """Write batches of the table's schema as data files of its current partition spec and sort order.

    Rows wait in memory by partition and are written in row groups of 48 MiB of Arrow. When 64 MiB wait, the largest
    wait is ended: its rows go to the partition's file, of which at most 16 are open, or to a temporary file on this
    machine's disk, from which each partition's files are written one after another. Rows of a sorted table always go
    there once 48 MiB wait, as sorted runs. A file is closed when it has `write.target-file-size-bytes` on disk, and
    what the storage holds of it is verified. When anything fails, the files written so far are removed: no snapshot
    can know them. Raises StateError for a full disk, CatalogError for a storage that fails.
    """
    order = RowOrder.of(table.sort_order(), table.schema())
    files = FileMaker(table, table.sort_order().order_id if order else None)
    encoders = Encoders()
    try:
        with encoders, Spill(files.arrow) as spill:
            writer = (_Unsorted if order is None else _Sorted)(table, files, encoders, spill)
            for batch in batches:
                writer.add(batch)
            return writer.finish()
    except BaseException:
        files.remove()
        raise


@dataclass
class _Waiting:
    """Rows of one partition that are not in a file yet: in memory, and the earlier ones on disk."""

    batches: list[pa.RecordBatch] = field(default_factory=list)
    bytes: int = 0
    spilled: list[Run] = field(default_factory=list)


class _Writer:
    """What both kinds of table share: rows wait by partition, and files are made partition by partition."""

    buffer_bytes = _BUFFER_BYTES

    def __init__(self, table: IcebergTable, files: FileMaker, encoders: Encoders, spill: Spill) -> None:
        self._files = files
        self._encoders = encoders
        self._spill = spill
        self._splitter = Splitter(table.spec(), table.schema())
        self._target_bytes = int(
            table.properties.get(
                TableProperties.WRITE_TARGET_FILE_SIZE_BYTES, TableProperties.WRITE_TARGET_FILE_SIZE_BYTES_DEFAULT
            )
        )
        # A row group is a file's smallest part: small files need small ones.
        self._group_bytes = min(_GROUP_BYTES, max(self._target_bytes, _LEAST_GROUP_BYTES))
        self._waiting: dict[Partition, _Waiting] = {}
        self._waiting_bytes = 0
        self._lanes: list[Lane] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Take a batch in; end waits that are long enough."""
        for partition, part in self._splitter.split(batch):
            waiting = self._waiting.setdefault(partition, _Waiting())
            waiting.batches.append(part)
            waiting.bytes += part.nbytes
            self._waiting_bytes += part.nbytes
            self._grown(partition, waiting)
        if self._waiting_bytes >= self.buffer_bytes:
            self._relieve()

    def finish(self) -> tuple[DataFile, ...]:
        """Write what still waits, close everything, and give out the files."""
        for partition in list(self._waiting):
            waiting = self._waiting.pop(partition)
            lane = self._lane(partition)
            for group in _groups(self._rows(waiting), self._group_bytes):
                self._encoders.add(lane, group)
            self._encoders.close(lane)
        self._encoders.drain()
        return tuple(file for lane in self._lanes for file in lane.written)

    def _grown(self, partition: Partition, waiting: _Waiting) -> None:
        """A partition has gained rows."""

    def _relieve(self) -> None:
        """Bring the bytes that wait below the limit."""
        raise NotImplementedError

    def _rows(self, waiting: _Waiting) -> Iterator[pa.Table]:
        """All rows of a partition, in the order in which they are to stand in its files."""
        raise NotImplementedError

    def _lane(self, partition: Partition) -> Lane:
        lane = Lane(self._files, partition, self._target_bytes)
        self._lanes.append(lane)
        return lane

    def _taken(self, waiting: _Waiting) -> pa.Table:
        rows = pa.Table.from_batches(waiting.batches, self._files.arrow)
        self._waiting_bytes -= waiting.bytes
        waiting.batches, waiting.bytes = [], 0
        return rows

    def _largest(self) -> Partition:
        return max(self._waiting, key=lambda partition: self._waiting[partition].bytes)


class _Unsorted(_Writer):
    """The first partitions with a row group's worth have a file open, at most 16; the others' rows go to disk."""

    def __init__(self, table: IcebergTable, files: FileMaker, encoders: Encoders, spill: Spill) -> None:
        super().__init__(table, files, encoders, spill)
        self._direct: dict[Partition, Lane] = {}

    def finish(self) -> tuple[DataFile, ...]:
        """First the open files, so that there are never more than 16."""
        for partition, lane in self._direct.items():
            waiting = self._waiting.pop(partition)
            if waiting.bytes:
                self._encoders.add(lane, self._taken(waiting))
            self._encoders.close(lane)
        self._encoders.drain()
        return super().finish()

    def _grown(self, partition: Partition, waiting: _Waiting) -> None:
        if waiting.bytes >= self._group_bytes:
            self._end(partition, waiting)

    def _relieve(self) -> None:
        while self._waiting_bytes >= self.buffer_bytes // 2:
            partition = self._largest()
            self._end(partition, self._waiting[partition])

    def _end(self, partition: Partition, waiting: _Waiting) -> None:
        may_open = not waiting.spilled and waiting.bytes >= _LEAST_GROUP_BYTES and len(self._direct) < MAX_OPEN_FILES
        if partition not in self._direct and may_open:
            self._direct[partition] = self._lane(partition)
        rows = self._taken(waiting)
        if partition in self._direct:
            self._encoders.add(self._direct[partition], rows)
        else:
            waiting.spilled.append(self._spill.put(rows))

    def _rows(self, waiting: _Waiting) -> Iterator[pa.Table]:
        for run in waiting.spilled:
            for batch in self._spill.read(run):
                yield pa.Table.from_batches([batch])
        if waiting.bytes:
            yield self._taken(waiting)


class _Sorted(_Writer):
    """Rows are sorted within their partition: in memory while they fit, else as runs on disk that are merged."""

    buffer_bytes = _SORT_BYTES

    def __init__(self, table: IcebergTable, files: FileMaker, encoders: Encoders, spill: Spill) -> None:
        super().__init__(table, files, encoders, spill)
        order = RowOrder.of(table.sort_order(), table.schema())
        assert order is not None  # noqa: S101  (this class is chosen for tables that have one)
        self._order = order

    def _relieve(self) -> None:
        while self._waiting_bytes >= self.buffer_bytes // 2:
            waiting = self._waiting[self._largest()]
            waiting.spilled.append(self._spill.put(self._order.sorted(self._taken(waiting))))

    def _rows(self, waiting: _Waiting) -> Iterator[pa.Table]:
        if not waiting.spilled:
            yield self._order.sorted(self._taken(waiting))
            return
        if waiting.bytes:
            waiting.spilled.append(self._spill.put(self._order.sorted(self._taken(waiting))))
        yield from self._order.merged(self._spill, waiting.spilled)


def _groups(rows: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """The same rows in tables of about `size` bytes."""
    held: list[pa.Table] = []
    held_bytes = 0
    for table in rows:
        step = max(1, table.num_rows * size // max(1, table.nbytes))
        for start in range(0, table.num_rows, step):
            part = table.slice(start, step)
            held.append(part)
            held_bytes += part.nbytes
            if held_bytes >= size:
                yield pa.concat_tables(held)
                held, held_bytes = [], 0
    if held:
        yield pa.concat_tables(held)
