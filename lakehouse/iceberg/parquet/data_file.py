"""One Parquet file of a table: opened, filled, closed, read back and described for a manifest.

Which rows go to which file is `writer.py`. Files belong to no snapshot here: that is `commit.py`.
"""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import structlog
from pyiceberg.io import FileIO, OutputStream
from pyiceberg.io.pyarrow import (
    MetricModeTypes,
    MetricsMode,
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import CatalogError
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.iceberg.parquet.partition import Partition
from lakehouse.iceberg.schemas.schema import arrow_of

_log = structlog.get_logger(__name__)

COMPRESSION_LEVEL = 1
"""PyIceberg's too. Level 3 took 1.1 to 1.6 times the CPU, for files 1 % smaller to 4 % larger (bench/README.md)."""
_SAMPLE_ROWS = 32_768
_MOST_DISTINCT = 0.8


@dataclass
class OpenFile:
    """A file that rows may still be added to."""

    location: str
    partition: Partition
    stream: OutputStream
    parquet: pq.ParquetWriter

    def add(self, rows: pa.Table) -> None:
        """Write rows as one row group."""
        self.parquet.write_table(rows, row_group_size=rows.num_rows)

    @property
    def bytes(self) -> int:
        """What is written so far, compressed, without the footer."""
        return int(self.stream.tell())


class FileMaker:
    """Makes the files of one write. Everything it raises of storage is StateError or CatalogError."""

    def __init__(self, table: IcebergTable, sort_order_id: int | None) -> None:
        self.arrow = arrow_of(table.schema(), field_ids=True)
        self._io = table.io
        self._doing = f"writing files of {'.'.join(table.name())}"
        self._spec_id = table.spec().spec_id
        self._sort_order_id = sort_order_id
        self._new_location = table.location_provider().new_data_location
        self._plan = compute_statistics_plan(table.schema(), table.properties)
        self._ids = parquet_path_to_id_mapping(table.schema())
        # What metadata must not show, the file's footer must not show either.
        none = MetricsMode(MetricModeTypes.NONE)
        self._measured = [path for path, number in self._ids.items() if self._plan[number].mode != none]
        self._made: dict[str, OpenFile | None] = {}

    @property
    def shows_all(self) -> bool:
        """Whether the footer may show bounds of every column."""
        return len(self._measured) == len(self._ids)

    def place(self, partition: Partition) -> str:
        """A location under a name that nobody else has; `remove` removes what is there."""
        name = f"{uuid.uuid4()}.parquet"
        location = self._new_location(f"{partition.folder}/{name}" if partition.folder else name)
        self._made[location] = None
        return location

    def open(self, partition: Partition, sample: pa.Table) -> OpenFile:
        """A new file under a name that nobody else has. The sample decides which columns get a dictionary."""
        location = self.place(partition)
        with catalog_errors(self._doing):
            # The name is unique: to ask whether it is taken would cost a request.
            stream = self._io.new_output(location).create(overwrite=True)
            parquet = pq.ParquetWriter(
                stream,
                self.arrow,
                compression="zstd",
                compression_level=COMPRESSION_LEVEL,
                store_schema=False,
                write_statistics=self._measured,
                use_dictionary=self._repeating(sample),
            )
        opened = self._made[location] = OpenFile(location, partition, stream, parquet)
        return opened

    def add(self, file: OpenFile, rows: pa.Table) -> None:
        """Write rows as one row group."""
        with catalog_errors(self._doing):
            file.add(rows)

    def close(self, file: OpenFile) -> DataFile:
        """Close a file, read its end back, and describe it. Raises CatalogError when it is not what was written."""
        with catalog_errors(self._doing):
            data_bytes = file.bytes
            file.parquet.close()
            size = file.bytes
            file.stream.close()
            footer = file.parquet.writer.metadata
            verify(self._io, file.location, footer, size=size, tail=size - data_bytes)
        self._made[file.location] = None
        return self._described(file.location, file.partition, size, footer)

    def adopt(self, location: str, partition: Partition) -> DataFile:
        """Describe what another encoder put at a `place`, as the storage holds it. Raises CatalogError."""
        with catalog_errors(self._doing), self._io.new_input(location).open() as stream:
            size = stream.seek(0, os.SEEK_END)
            try:
                footer = pq.read_metadata(stream)
            except pa.ArrowException as error:
                raise _damaged(location, "a Parquet footer", f"{type(error).__name__}: {error}") from error
        return self._described(location, partition, size, footer)

    def remove(self) -> None:
        """Remove every file made so far: no snapshot can know them."""
        for location, file in self._made.items():
            if file is not None:
                # Else PyArrow would write a footer when the object goes, to a stream that is closed by then.
                file.parquet.is_open = False
                with suppress(OSError):
                    file.stream.close()
            try:
                self._io.delete(location)
            except FileNotFoundError:
                _log.debug("file was not there yet", location=location)
            except OSError as error:
                _log.warning("file left behind", location=location, reason=str(error))

    def _repeating(self, sample: pa.Table) -> list[str]:
        """Parquet paths of the columns whose values repeat, and of all nested ones.

        A dictionary of values that hardly repeat is built, outgrows its page and is given up: time and no gain.
        """
        sample = sample.slice(0, _SAMPLE_ROWS)
        most = _MOST_DISTINCT * sample.num_rows
        flat = {
            field.name: sample.column(field.name)
            for field in self.arrow
            if not pa.types.is_nested(field.type) and not isinstance(field.type, pa.BaseExtensionType)
        }
        return [path for path in self._ids if path not in flat or pc.count_distinct(flat[path]).as_py() <= most]

    def _described(self, location: str, partition: Partition, size: int, footer: pq.FileMetaData) -> DataFile:
        statistics = data_file_statistics_from_parquet_metadata(footer, self._plan, self._ids)
        arguments: dict[str, Any] = {
            "content": DataFileContent.DATA,
            "file_path": location,
            "file_format": FileFormat.PARQUET,
            "partition": partition.values,
            "file_size_in_bytes": size,
            "sort_order_id": self._sort_order_id,
            "equality_ids": None,
            "key_metadata": None,
            **statistics.to_serialized_dict(),
        }
        made = DataFile.from_args(**arguments)
        # from_args ignores spec_id; without it PyIceberg cannot group files by spec.
        made.spec_id = self._spec_id
        return made


def verify(io: FileIO, location: str, footer: pq.FileMetaData, *, size: int, tail: int) -> None:
    """Read a file's length and footer back from storage, and compare them with what was written.

    Two requests on S3: HEAD, and GET of the last `tail` bytes of `size`, the footer. It names each row group's rows,
    place and bytes, so a file cut short, left empty or replaced is found. A bit that flipped in the middle of the data
    is not: to see it, all of it would have to be read. Raises CatalogError.
    """
    with io.new_input(location).open() as stream:
        found = stream.seek(0, os.SEEK_END)
        if found != size:
            raise _damaged(location, f"{size} bytes", f"{found} bytes")
        stream.seek(size - tail)
        stored = stream.read(tail)
    try:
        read_back = pq.read_metadata(pa.BufferReader(stored))
    except (pa.ArrowException, OSError) as error:
        raise _damaged(location, "a Parquet footer", f"{type(error).__name__}: {error}") from error
    if not read_back.equals(footer):
        raise _damaged(location, _shape(footer), _shape(read_back))


def _shape(footer: pq.FileMetaData) -> str:
    return f"a footer of {footer.num_rows} rows in {footer.num_row_groups} row groups"


def _damaged(location: str, expected: str, found: str) -> CatalogError:
    return CatalogError(
        f"the storage does not hold {location} as it was written",
        expected=expected,
        found=found,
        remedy="Nothing was committed. Check the storage, then run again.",
    )
