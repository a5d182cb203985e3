"""Rows to Parquet files of a table, in bounded memory.

The files it makes belong to no snapshot yet: that is `commit.py`. Rows arrive conformed (`conform.py`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import structlog
from pyiceberg.io import OutputFile, OutputStream
from pyiceberg.io.pyarrow import (
    MetricModeTypes,
    MetricsMode,
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table import TableProperties

from lakehouse.iceberg.failures import catalog_errors
from lakehouse.iceberg.partition import Partition, Splitter
from lakehouse.iceberg.schema import arrow_of

_log = structlog.get_logger(__name__)

MAX_OPEN_FILES = 16
_GROUP_BYTES = 32 * 2**20
_BUFFER_BYTES = 96 * 2**20
_COMPRESSION_LEVEL = 3


def write_files(table: IcebergTable, batches: Iterable[pa.RecordBatch]) -> tuple[DataFile, ...]:
    """Write batches of the table's schema as data files of its current partition spec.

    Rows wait in memory, by partition, until a partition has a row group's worth (32 MiB of Arrow) or all together
    have 96 MiB; then the largest wait is ended by writing it. At most 16 files are open. A file is closed when it has
    `write.target-file-size-bytes` on disk. When anything fails, the files written so far are removed: no snapshot can
    know them.
    """
    writer = _Writer(table)
    with writer.removed_on_failure():
        for batch in batches:
            writer.add(batch)
        return writer.finish()


@dataclass
class _Waiting:
    """Rows of one partition that are not in a file yet."""

    batches: list[pa.RecordBatch] = field(default_factory=list)
    bytes: int = 0


@dataclass
class _Open:
    """A file being written. `groups` counts flushes: one sorted flush makes a sorted file, two do not."""

    location: str
    target: OutputFile
    stream: OutputStream
    parquet: pq.ParquetWriter
    groups: int = 0


class _Writer:
    def __init__(self, table: IcebergTable) -> None:
        self._table = table
        self._schema = table.schema()
        self._spec = table.spec()
        self._order = table.sort_order()
        self._arrow = arrow_of(self._schema, field_ids=True)
        self._splitter = Splitter(self._spec, self._schema)
        self._locations = table.location_provider()
        self._target_bytes = int(
            table.properties.get(
                TableProperties.WRITE_TARGET_FILE_SIZE_BYTES, TableProperties.WRITE_TARGET_FILE_SIZE_BYTES_DEFAULT
            )
        )
        self._plan = compute_statistics_plan(self._schema, table.properties)
        # What metadata must not show, the file's footer must not show either.
        none = MetricsMode(MetricModeTypes.NONE)
        self._measured = [column.column_name for column in self._plan.values() if column.mode != none]
        self._ids = parquet_path_to_id_mapping(self._schema)
        self._waiting: dict[Partition, _Waiting] = {}
        self._waiting_bytes = 0
        self._open: dict[Partition, _Open] = {}
        self._locations_made: list[str] = []
        self._files: list[DataFile] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Take a batch in; write whatever has waited long enough."""
        for partition, part in self._splitter.split(batch):
            waiting = self._waiting.setdefault(partition, _Waiting())
            waiting.batches.append(part)
            waiting.bytes += part.nbytes
            self._waiting_bytes += part.nbytes
            if waiting.bytes >= _GROUP_BYTES:
                self._flush(partition)
        while self._waiting_bytes >= _BUFFER_BYTES:
            self._flush(max(self._waiting, key=lambda partition: self._waiting[partition].bytes))

    def finish(self) -> tuple[DataFile, ...]:
        """Write what still waits, close everything, and give out the files."""
        for partition in list(self._waiting):
            self._flush(partition)
            self._close(partition)
        for partition in list(self._open):
            self._close(partition)
        return tuple(self._files)

    @contextmanager
    def removed_on_failure(self) -> Iterator[None]:
        """Remove every file made so far when the body fails, and let the failure through."""
        try:
            yield
        except BaseException:
            for file in self._open.values():
                with suppress(OSError):
                    file.stream.close()
            for location in self._locations_made:
                try:
                    self._table.io.delete(location)
                except OSError as error:
                    _log.warning("file left behind", location=location, reason=str(error))
            raise

    def _flush(self, partition: Partition) -> None:
        waiting = self._waiting.pop(partition)
        self._waiting_bytes -= waiting.bytes
        rows = self._sorted(pa.Table.from_batches(waiting.batches, self._arrow))
        with catalog_errors(f"writing files of {'.'.join(self._table.name())}"):
            # The last in `_open` is the one written most recently.
            file = self._open.pop(partition, None) or self._start(partition)
            self._open[partition] = file
            file.parquet.write_table(rows, row_group_size=rows.num_rows)
            file.groups += 1
            if file.stream.tell() >= self._target_bytes:
                self._close(partition)

    def _sorted(self, rows: pa.Table) -> pa.Table:
        keys = [(self._schema.find_field(key.source_id).name, "ascending", "at_end") for key in self._order.fields]
        return rows.take(pc.sort_indices(rows, sort_keys=keys)) if keys else rows

    def _start(self, partition: Partition) -> _Open:
        if len(self._open) >= MAX_OPEN_FILES:
            self._close(next(iter(self._open)))
        name = f"{uuid.uuid4()}.parquet"
        location = self._locations.new_data_location(f"{partition.folder}/{name}" if partition.folder else name)
        self._locations_made.append(location)
        target = self._table.io.new_output(location)
        stream = target.create()
        parquet = pq.ParquetWriter(
            stream,
            self._arrow,
            compression="zstd",
            compression_level=_COMPRESSION_LEVEL,
            store_schema=False,
            write_statistics=self._measured,
        )
        return _Open(location, target, stream, parquet)

    def _close(self, partition: Partition) -> None:
        file = self._open.pop(partition, None)
        if file is None:
            return
        with catalog_errors(f"writing files of {'.'.join(self._table.name())}"):
            file.parquet.close()
            size = file.stream.tell()
            file.stream.close()
        self._files.append(self._data_file(partition, file, size))

    def _data_file(self, partition: Partition, file: _Open, size: int) -> DataFile:
        statistics = data_file_statistics_from_parquet_metadata(file.parquet.writer.metadata, self._plan, self._ids)
        sorted_throughout = bool(self._order.fields) and file.groups == 1
        arguments: dict[str, Any] = {
            "content": DataFileContent.DATA,
            "file_path": file.location,
            "file_format": FileFormat.PARQUET,
            "partition": partition.values,
            "file_size_in_bytes": size,
            "sort_order_id": self._order.order_id if sorted_throughout else None,
            "equality_ids": None,
            "key_metadata": None,
            **statistics.to_serialized_dict(),
        }
        made = DataFile.from_args(**arguments)
        # from_args ignores spec_id; without it PyIceberg cannot group files by spec.
        made.spec_id = self._spec.spec_id
        return made
