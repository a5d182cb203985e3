"""One table as a relation of DuckDB's SQL, pinned to a snapshot.

A DuckDB that can read such a relation is made by `duck.py`; reading without DuckDB is `scan.py`.
"""

from __future__ import annotations

from pyiceberg.schema import Schema
from pyiceberg.types import NestedField

from lakehouse.iceberg.reads.scan import State, schema_of
from lakehouse.tables.sql import literal, quote
from lakehouse.tables.types import duckdb_type


def relation_sql(state: State) -> str:
    """A DuckDB relation of a state; without a snapshot, an empty relation of the right types."""
    nulls = ", ".join(f"{_null(field)} AS {quote(field.name)}" for field in state.schema.fields)
    if state.snapshot is None:
        return f"(SELECT {nulls} WHERE false)"
    location = literal(state.table.metadata_location)
    scan = f"iceberg_scan({location}, snapshot_from_id={state.snapshot.snapshot_id}::UBIGINT)"
    written = schema_of(state.table.metadata, state.snapshot)
    if written.fields == state.schema.fields:
        return scan
    return f"(SELECT {_projection(written, state.schema)} FROM {scan})"


def _projection(written: Schema, wanted: Schema) -> str:
    """DuckDB shows a snapshot with its own schema: by field id, its columns as those of another schema."""
    names = {field.field_id: field.name for field in written.fields}
    return ", ".join(
        f"{_typed(quote(names[field.field_id]), field) if field.field_id in names else _null(field)}"
        f" AS {quote(field.name)}"
        for field in wanted.fields
    )


def _null(field: NestedField) -> str:
    return _typed("NULL", field)


def _typed(value: str, field: NestedField) -> str:
    return f"CAST({value} AS {duckdb_type(str(field.field_type))})"
