"""Writing which rows of data files are hidden: by position delete files, of format version 2.

What delete files hide is read by `hidden.py`; that a snapshot takes them over is `commits/`. One interface, for other
versions of the format hide rows by other files.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from concurrent.futures import wait
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import structlog
from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import FileScanTask
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.delete_file_index import PATH_FIELD_ID, _referenced_data_file_path
from pyiceberg.types import LongType
from pyiceberg.utils.concurrent import ExecutorFactory

from lakehouse.iceberg.deletes.hidden import hidden_rows
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.iceberg.parquet.data_file import COMPRESSION_LEVEL, verify
from lakehouse.iceberg.selection.plan import Touched
from lakehouse.tables import TableName

_log = structlog.get_logger(__name__)

_POSITION_FIELD_ID = 2147483545
_IDS = (PATH_FIELD_ID, _POSITION_FIELD_ID)
_SCHEMA = pa.schema(
    [
        # The same path in every row: one value in memory, as in the file.
        pa.field("file_path", pa.dictionary(pa.int32(), pa.string()), False, {"PARQUET:field_id": str(PATH_FIELD_ID)}),
        pa.field("pos", pa.int64(), False, {"PARQUET:field_id": str(_POSITION_FIELD_ID)}),
    ]
)
"""Names and reserved field ids of the Iceberg spec, "Position Delete Files"."""
_BEHIND_FOOTER = 8
"""Bytes of a Parquet file after its footer: the footer's length, and PAR1."""


@dataclass(frozen=True)
class Hiding:
    """Delete files that come, and the paths of those that go because the new ones hide what they hid."""

    added: tuple[DataFile, ...] = ()
    superseded: frozenset[str] = frozenset()


class Hider(Protocol):
    """Hides rows of data files."""

    def hide(self, rows: Mapping[Touched, pa.Array]) -> Hiding:
        """Hide these positions (from 0, in any order) of each file, beside those that are hidden already."""

    def remove(self) -> None:
        """Remove what was written: no snapshot can know it."""


class PositionDeletes:
    """One Parquet file for each data file, of all positions that are hidden by files about that data file alone.

    Delete files of other programs that are about several data files stay, and apply beside ours.
    """

    def __init__(self, name: TableName, table: IcebergTable) -> None:
        self._name = name
        self._table = table
        self._doing = f"writing delete files of {name}"
        self._made: list[str] = []

    def hide(self, rows: Mapping[Touched, pa.Array]) -> Hiding:
        """Write the delete files; when anything fails, those written so far are removed.

        What storage holds of each is verified, as of a data file. Raises CatalogError.
        """
        asked = {of: positions for of, positions in rows.items() if len(positions)}
        before = {of: frozenset(file for file in of.deletes if about_one(file, of.path)) for of in asked}
        already = hidden_rows(self._table, self._name, [FileScanTask(of.file, set(before[of])) for of in asked])
        all_hidden = {of: _ascending(positions, already.get(of.path)) for of, positions in asked.items()}
        pool = ExecutorFactory.get_or_create()
        writing = [pool.submit(self._write, of, positions) for of, positions in all_hidden.items()]
        try:
            added = tuple(each.result() for each in writing)
        except BaseException:
            for each in writing:
                each.cancel()
            wait(writing)
            self.remove()
            raise
        return Hiding(added, frozenset(str(file.file_path) for files in before.values() for file in files))

    def remove(self) -> None:
        """Remove every delete file written so far: no snapshot can know them."""
        for location in self._made:
            try:
                self._table.io.delete(location)
            except FileNotFoundError:
                _log.debug("delete file was not there yet", location=location)
            except OSError as error:
                _log.warning("delete file left behind", location=location, reason=str(error))

    def _write(self, of: Touched, positions: pa.Array) -> DataFile:
        io, location = self._table.io, self._place(of.file)
        content, footer = _encoded(of.path, positions)
        with catalog_errors(self._doing):
            self._made.append(location)
            # The name is unique: to ask whether it is taken would cost a request.
            with io.new_output(location).create(overwrite=True) as stream:
                stream.write(content)
            verify(io, location, footer, size=len(content), tail=footer.serialized_size + _BEHIND_FOOTER)
        return _described(of, location, positions, len(content), footer)

    def _place(self, file: DataFile) -> str:
        spec = self._table.metadata.specs()[file.spec_id]
        name = f"{uuid.uuid4()}-deletes.parquet"
        folder = spec.partition_to_path(file.partition, self._table.schema()) if spec.fields else ""
        return self._table.location_provider().new_data_location(f"{folder}/{name}" if folder else name)


def about_one(file: DataFile, path: str) -> bool:
    """Whether a delete file hides rows by position, of this data file and of no other."""
    return file.content == DataFileContent.POSITION_DELETES and _referenced_data_file_path(file) == path


def _ascending(positions: pa.Array, already: pa.Array | None) -> pa.Array:
    both = positions if already is None else pa.concat_arrays([positions, already])
    if pc.all(pc.less(both[:-1], both[1:])).as_py():
        return both
    found = pc.unique(both)
    return found.take(pc.sort_indices(found))


def _encoded(path: str, positions: pa.Array) -> tuple[pa.Buffer, pq.FileMetaData]:
    """The content of a delete file. The path is spelled as the data file's is: readers compare it letter by letter."""
    paths = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), len(positions)), [path])
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_arrays([paths, positions], schema=_SCHEMA),
        sink,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        store_schema=False,
        use_dictionary=["file_path"],
        column_encoding={"pos": "DELTA_BINARY_PACKED"},
    )
    content = sink.getvalue()
    return content, pq.read_metadata(pa.BufferReader(content))


def _described(of: Touched, location: str, positions: pa.Array, size: int, footer: pq.FileMetaData) -> DataFile:
    """Bounds in full, and equal ones of the path: that is what tells every reader which file it is about."""
    path, first, last = of.path.encode(), positions[0].as_py(), positions[-1].as_py()
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    columns = {
        number: sum(group.column(at).total_compressed_size for group in groups) for at, number in enumerate(_IDS)
    }
    arguments: dict[str, Any] = {
        "content": DataFileContent.POSITION_DELETES,
        "file_path": location,
        "file_format": FileFormat.PARQUET,
        "partition": of.file.partition,
        "record_count": len(positions),
        "file_size_in_bytes": size,
        "column_sizes": columns,
        "lower_bounds": {PATH_FIELD_ID: path, _POSITION_FIELD_ID: to_bytes(LongType(), first)},
        "upper_bounds": {PATH_FIELD_ID: path, _POSITION_FIELD_ID: to_bytes(LongType(), last)},
        "split_offsets": [_offset(group) for group in groups],
    }
    made = DataFile.from_args(**arguments)
    # from_args ignores spec_id.
    made.spec_id = of.file.spec_id
    return made


def _offset(group: pq.RowGroupMetaData) -> int:
    """Where a row group begins."""
    first = group.column(0)
    return int(first.dictionary_page_offset if first.has_dictionary_page else first.data_page_offset)
