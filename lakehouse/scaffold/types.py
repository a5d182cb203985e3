"""The Iceberg type of a column: by its type in PostgreSQL, or from values, with the very casts that loads will use.

Text that looks like a number and is none (`007`, `+49`) stays text. Nothing is read here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from lakehouse.iceberg import arrow_schema
from lakehouse.ingest.casts import Cast, exact_cast
from lakehouse.sources.postgres.catalog import CatalogColumn
from lakehouse.tables import Column
from lakehouse.tables.sql import literal, quote

MAX_DIGITS = 38

_POSTGRES = {
    "int2": "int",
    "int4": "int",
    "int8": "long",
    "oid": "long",
    "float4": "float",
    "float8": "double",
    "bool": "boolean",
    "date": "date",
    "time": "time",
    "timestamp": "timestamp",
    "timestamptz": "timestamptz",
    "bytea": "binary",
}
_DUCKDB = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT"), "int"),
    "BIGINT": "long",
    "UINTEGER": "long",
    "UBIGINT": "decimal(20, 0)",
    "FLOAT": "float",
    "DOUBLE": "double",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "TIME": "time",
    "BLOB": "binary",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"), "timestamp"),
}
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_MONEY = re.compile(r"(^|_)(price|amount|cost|total|revenue|fee|tax|balance|salary)(_|$)")

# What a person means by such text; the casts allow more, e.g. 1 for true and 12.0 for 12.
_MEANT = (
    ("boolean", "(?i:true|false)"),
    ("long", "[-]?(0|[1-9][0-9]*)"),
    ("double", r"[-]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?"),
    ("date", ".*"),
    ("timestamptz", "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ].*"),
)


def postgres_type(column: CatalogColumn) -> str | None:
    """The Iceberg type that holds every value of a PostgreSQL column; None for a numeric without declared digits.

    What Iceberg has no type for (uuid, json, arrays, enums, intervals) is text, as the source hands it over.
    """
    if column.base != "numeric":
        return _POSTGRES.get(column.base, "string")
    precision, scale = column.precision, column.scale
    if precision is None or scale is None:
        return None
    if 0 <= scale <= precision <= MAX_DIGITS:
        return f"decimal({precision}, {scale})"
    return "string" if precision > MAX_DIGITS else None


def numeric_type(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """The decimal that holds the values of a numeric that came as text in `raw`; text where none does (NaN)."""
    text = quote(name)
    form = literal(r"-?[0-9]+(\.[0-9]+)?")
    digits, scale, odd = connection.execute(
        f"select coalesce(max(length(trim(split_part({text}, '.', 1), '-'))), 0), "
        f"coalesce(max(length(split_part({text}, '.', 2))), 9), "
        f"count(*) filter (where not regexp_full_match({text}, {form})) from raw"
    ).fetchone() or (0, 9, 0)
    return "string" if odd or digits + scale > MAX_DIGITS else f"decimal({MAX_DIGITS}, {scale})"


def observed_type(connection: duckdb.DuckDBPyConnection, rows: pa.Table, name: str, given: str) -> str:
    """The type of a column of a file, from its values in `raw`; `given` is its type in DuckDB.

    A column without a single value is text.
    """
    if given != "VARCHAR":
        if decimal := _DECIMAL.fullmatch(given):
            return f"decimal({decimal[1]}, {decimal[2]})"
        found = _DUCKDB.get(given, "string")
        return found if not misfits(connection, rows, Column(name, found), given) else "string"
    column = quote(name)
    if not _number(connection, f"select count({column}) from raw"):
        return "string"
    for kind, meant in _MEANT:
        form = f"{column} is not null and not regexp_full_match({column}, {literal(meant)})"
        if _number(connection, f"select count(*) from raw where {form}"):
            continue
        if not misfits(connection, rows, Column(name, kind), given):
            refined = _refined(connection, kind, name)
            return kind if misfits(connection, rows, Column(name, refined), given) else refined
    return "string"


def misfits(connection: duckdb.DuckDBPyConnection, rows: pa.Table, column: Column, given: str) -> int:
    """How many values of `raw` a load would refuse as not being of the column's type."""
    how = _cast(rows, column, given)
    raw = f"raw.{quote(column.name)}"
    fits = f"{how.value} is not null" if how.value else f"{raw} between {how.span}" if how.span else "true"
    return _number(connection, f"select count(*) from raw where {raw} is not null and not ({fits})")


def typed_relation(rows: pa.Table, columns: Sequence[Column], given: dict[str, str]) -> str:
    """A subquery over `raw` with the columns as a load will store them, NULL where it would refuse the value."""
    values = [(one.name, _cast(rows, one, given[one.name]).value or f"raw.{quote(one.name)}") for one in columns]
    selected = [f"{value} as {quote(name)}" for name, value in values]
    return f"(select {', '.join(selected)} from raw)"


def _cast(rows: pa.Table, column: Column, given: str) -> Cast:
    wanted = arrow_schema([column]).field(column.name).type
    same = rows.schema.field(column.name).type.equals(wanted)
    return exact_cast(f"raw.{quote(column.name)}", given, column.type, same=same)


def _refined(connection: duckdb.DuckDBPyConnection, kind: str, name: str) -> str:
    """Money is exact; times of which none states an offset are local."""
    column = quote(name)
    if kind in {"double", "long"} and _MONEY.search(name.lower()):
        scale = _number(connection, f"select coalesce(max(length(split_part({column}, '.', 2))), 0) from raw")
        exponents = _number(connection, f"select count(*) from raw where regexp_matches({column}, '[eE]')")
        return "decimal(18, 2)" if scale <= 2 and not exponents else kind  # noqa: PLR2004  (cents)
    if kind == "timestamptz":
        offsets = _number(connection, f"select count(*) from raw where regexp_matches({column}, '(Z|[+-][0-9:]+)$') "
                          f"and length({column}) > 10")  # fmt: skip
        return kind if offsets else "timestamp"
    return kind


def _number(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    return int(row[0]) if row else 0
