"""One data file as batches of a table's columns: by field id, chosen rows only, position deletes applied.

PyIceberg's own reader starts on all files at once, each as a whole and 16 batches ahead; the rules are its own. Which
files are read is `scan.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.dataset as ds
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.expressions.visitors import bind, extract_field_ids, translate_column_names
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import (
    _combine_positional_deletes,
    _get_column_projection_values,
    _get_file_format,
    _read_all_delete_files,
    _to_requested_schema,
    expression_to_pyarrow,
    pyarrow_to_schema,
)
from pyiceberg.schema import Schema, prune_columns
from pyiceberg.table import FileScanTask
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.types import ListType, MapType

_BUFFER_BYTES = 8 * 2**20
_BATCH_ROWS = 65_536
_AHEAD = 1
"""Batches that are read before they are asked for. Arrow decodes as many whole row groups as hold them."""


class FileReader:
    """Reads data files of one table into the columns `wanted`, rows for which `chosen` is true."""

    def __init__(self, metadata: TableMetadata, io: FileIO, wanted: Schema, chosen: BooleanExpression) -> None:
        self._metadata = metadata
        self._io = io
        self._wanted = wanted
        self._chosen = bind(metadata.schema(), chosen, case_sensitive=True)
        # PyIceberg selects a list or a map by what is in it.
        columns = {of for of in wanted.field_ids if not isinstance(wanted.find_type(of), ListType | MapType)}
        self._ids = columns | extract_field_ids(self._chosen)

    def batches(self, task: FileScanTask) -> Iterator[pa.RecordBatch]:
        """The rows of one file, less its delete files' positions; no batch is empty."""
        deletes = _read_all_delete_files(self._io, [task]).get(task.file.file_path)
        with self._io.new_input(task.file.file_path).open() as stream:
            file_format = _get_file_format(task.file.file_format, pre_buffer=True, buffer_size=_BUFFER_BYTES)
            fragment = file_format.make_fragment(stream)
            found = pyarrow_to_schema(
                fragment.physical_schema, self._metadata.name_mapping(), downcast_ns_timestamp_to_us=True
            )
            # Columns that the file has not, and its partition tells (Iceberg spec, "Column Projection").
            spec = self._metadata.specs().get(task.file.spec_id)
            told = _get_column_projection_values(
                task.file, self._wanted, self._metadata.schema(), spec, found.field_ids
            )
            pruned = prune_columns(found, self._ids, select_full_types=False)
            rows = self._filter(found, told)
            scanner = ds.Scanner.from_fragment(
                fragment,
                schema=fragment.physical_schema,
                columns=[column.name for column in pruned.columns],
                # Positions count all rows of the file, so they go first.
                filter=None if deletes else rows,
                batch_size=_BATCH_ROWS,
                batch_readahead=_AHEAD,
            )
            start = 0
            for batch in scanner.to_batches():
                kept = batch
                if deletes:
                    kept = batch.take(_combine_positional_deletes(deletes, start, start + len(batch)))
                    kept = _filtered(kept, rows)
                start += len(batch)
                if len(kept):
                    yield _to_requested_schema(
                        self._wanted,
                        pruned,
                        kept,
                        downcast_ns_timestamp_to_us=True,
                        projected_missing_fields=told,
                        allow_timestamp_tz_mismatch=True,
                    )

    def _filter(self, found: Schema, told: dict[int, object]) -> ds.Expression | None:
        if isinstance(self._chosen, AlwaysTrue):
            return None
        names = translate_column_names(self._chosen, found, case_sensitive=True, projected_field_values=told)
        return expression_to_pyarrow(bind(found, names, case_sensitive=True), found)


def _filtered(batch: pa.RecordBatch, rows: ds.Expression | None) -> pa.RecordBatch:
    if rows is None:
        return batch
    left = pa.Table.from_batches([batch]).filter(rows).combine_chunks().to_batches()
    return left[0] if left else batch.slice(0, 0)
