"""Reading rows as Arrow, without DuckDB: one data file at a time.

SQL over tables is `duck.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.schema import Schema
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import QueryError
from lakehouse.iceberg.catalog import catalog_errors
from lakehouse.iceberg.schema import arrow_of


def read_rows(
    table: IcebergTable, snapshot_id: int | None, *, columns: Sequence[str] | None, limit: int | None
) -> pa.RecordBatchReader:
    """The rows of a snapshot (None: no rows), in no order, in the columns asked for (default: all), at most `limit`.

    Memory holds one data file: PyIceberg's own reader starts on all files at once. Raises QueryError for an unknown
    column, CatalogError while it is read.
    """
    wanted = _projected(table.schema(), columns)
    schema = arrow_of(wanted, field_ids=False)
    return pa.RecordBatchReader.from_batches(schema, _batches(table, snapshot_id, wanted, schema, limit))


def _batches(
    table: IcebergTable, snapshot_id: int | None, wanted: Schema, schema: pa.Schema, limit: int | None
) -> Iterator[pa.RecordBatch]:
    left = limit
    if snapshot_id is None:
        return
    scan = ArrowScan(table.metadata, table.io, wanted, AlwaysTrue(), case_sensitive=True)
    with catalog_errors(f"reading {'.'.join(table.name())}"):
        for task in table.scan(snapshot_id=snapshot_id, selected_fields=tuple(wanted.column_names)).plan_files():
            for batch in scan.to_record_batches([task]):
                part = batch if left is None else batch.slice(0, left)
                yield part.cast(schema)
                if left is not None:
                    left -= part.num_rows
                    if left <= 0:
                        return


def _projected(schema: Schema, columns: Sequence[str] | None) -> Schema:
    if columns is None:
        return schema
    known = {field.name: field for field in schema.fields}
    unknown = [name for name in columns if name not in known]
    if unknown:
        raise QueryError(
            f"there is no column {', '.join(unknown)}", expected=f"some of {', '.join(known)}", remedy="Mend the name."
        )
    return Schema(*(known[name] for name in columns), schema_id=schema.schema_id)
