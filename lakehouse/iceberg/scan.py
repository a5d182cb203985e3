"""Reading one table: as Arrow without DuckDB, one data file at a time, or as a relation for DuckDB's SQL.

A DuckDB that can read such a relation is made by `duck.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.schema import Schema
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import QueryError
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.iceberg.progress import MAIN, head_of
from lakehouse.iceberg.schema import arrow_of, duckdb_type
from lakehouse.tables.sql import literal, quote


def read_rows(
    table: IcebergTable, branch: str, snapshot_id: int | None, *, columns: Sequence[str] | None, limit: int | None
) -> pa.RecordBatchReader:
    """The rows of a branch or snapshot, in no order, in the columns asked for (default: all), at most `limit`.

    Memory holds one data file: PyIceberg's own reader starts on all files at once. Raises QueryError for an unknown
    column or snapshot, BranchMissing; CatalogError while it is read.
    """
    at = _resolved(table, branch, snapshot_id)
    wanted = _projected(table.schema(), columns)
    schema = arrow_of(wanted, field_ids=False)
    return pa.RecordBatchReader.from_batches(schema, _batches(table, at, wanted, schema, limit))


def relation_sql(table: IcebergTable, branch: str | None = None, snapshot_id: int | None = None) -> str:
    """A DuckDB relation pinned to a snapshot (default: main's now); without any, an empty relation of the right types.

    Raises BranchMissing, QueryError.
    """
    at = _resolved(table, branch or MAIN, snapshot_id)
    if at is not None:
        return f"iceberg_scan({literal(table.metadata_location)}, snapshot_from_id={at}::UBIGINT)"
    nulls = (
        f"CAST(NULL AS {duckdb_type(str(field.field_type))}) AS {quote(field.name)}" for field in table.schema().fields
    )
    return f"(SELECT {', '.join(nulls)} WHERE false)"


def _resolved(table: IcebergTable, branch: str, snapshot_id: int | None) -> int | None:
    if snapshot_id is None:
        head = head_of(table.metadata, branch)
        return head.snapshot_id if head else None
    if table.metadata.snapshot_by_id(snapshot_id) is None:
        raise QueryError(
            f"{'.'.join(table.name())} has no snapshot {snapshot_id} (any more)",
            remedy="Choose one of `lakehouse table show`.",
        )
    return snapshot_id


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
