"""Bringing rows to a table's schema: order, types and nullability, or a SchemaMismatch that names the columns.

No values are repaired: a cast either keeps each value or is refused. Rules on values belong to `quality/` and
`ingest/`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.errors import SchemaMismatch

_BATCH_ROWS = 131_072
_MOST_DIGITS = 38

Rows: TypeAlias = pa.RecordBatchReader | pa.Table
"""What every write accepts."""


def conformed(rows: Rows, schema: pa.Schema, *, may_lack: Collection[str] = ()) -> Iterator[pa.RecordBatch]:
    """The rows in batches of exactly `schema`, non-empty, in their order.

    Columns in `may_lack` are NULL where the rows do not have them. Raises SchemaMismatch for missing or unknown
    columns, types that cannot hold the values, and NULL in a required column. A failure of the reader itself is not
    touched.
    """
    _check_names(rows.schema, schema, may_lack)
    _check_types(rows.schema, schema)
    seen = 0
    for batch in _batches(rows):
        yield _conform(batch, schema, seen)
        seen += batch.num_rows


def _batches(rows: Rows) -> Iterator[pa.RecordBatch]:
    """Slices, of which nothing is copied: one huge batch must not become one huge cast, or one huge row group."""
    for batch in rows.to_batches() if isinstance(rows, pa.Table) else rows:
        for start in range(0, batch.num_rows, _BATCH_ROWS):
            yield batch.slice(start, _BATCH_ROWS)


def _check_names(given: pa.Schema, schema: pa.Schema, may_lack: Collection[str]) -> None:
    missing = [name for name in schema.names if name not in given.names and name not in may_lack]
    unknown = [name for name in given.names if name not in schema.names]
    twice = sorted({name for name in given.names if given.names.count(name) > 1})
    if missing or unknown or twice:
        found = [
            f"{what} {', '.join(names)}"
            for what, names in (("missing", missing), ("unknown", unknown), ("twice", twice))
            if names
        ]
        raise SchemaMismatch(
            "the rows do not have the table's columns",
            expected=", ".join(schema.names),
            found="; ".join(found),
            remedy="Mend the query or the contract.",
        )


def _check_types(given: pa.Schema, schema: pa.Schema) -> None:
    wrong = [
        f"{field.name}: {given.field(field.name).type} for {field.type}"
        for field in schema
        if field.name in given.names and not _castable(given.field(field.name).type, field.type)
    ]
    if wrong:
        raise SchemaMismatch(
            "the rows' types are not those of the table",
            expected="types that keep every value",
            found="; ".join(wrong),
            remedy="Cast in the query, or mend the contract.",
        )


def _castable(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a cast between these types may be tried at all. Text never becomes a number or a date by itself."""
    if pa.types.is_dictionary(given):
        given = given.value_type
    if given.equals(wanted) or pa.types.is_null(given):
        return True
    return any(given_is(given) and wanted_is(wanted) for given_is, wanted_is in _FAMILIES)


def _conform(batch: pa.RecordBatch, schema: pa.Schema, seen: int) -> pa.RecordBatch:
    arrays = [_column(batch, field) for field in schema]
    empty = [
        f"{array.null_count} NULL in {field.name}"
        for field, array in zip(schema, arrays, strict=True)
        if not field.nullable and array.null_count
    ]
    if empty:
        raise SchemaMismatch(
            "required columns hold NULL",
            expected="a value in every row",
            found=f"{', '.join(empty)} (among {batch.num_rows} rows, after {seen} good ones)",
            remedy="Filter or fill these rows, or declare the column as not required.",
        )
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _column(batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
    if field.name not in batch.schema.names:
        return pa.nulls(len(batch), field.type)
    array = batch.column(field.name)
    if array.type.equals(field.type):
        return array
    try:
        if pa.types.is_integer(array.type) and pa.types.is_decimal(field.type):
            # Arrow wants room for every 64-bit integer first, whatever the values are.
            array = pc.cast(array, pa.decimal128(_MOST_DIGITS, field.type.scale))
        return pc.cast(array, field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaMismatch(
            f"values of column {field.name!r} do not fit its type",
            expected=str(field.type),
            found=f"{array.type}: {error}",
            remedy="Cast or round in the query, or mend the contract.",
        ) from error


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _is_exact(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_decimal(kind))


def _is_naive(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind)) and kind.tz is None


def _is_zoned(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind)) and kind.tz is not None


_FAMILIES: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.DataType], bool]], ...] = (
    (_is_text, _is_text),
    (_is_bytes, _is_bytes),
    (_is_exact, _is_exact),
    (pa.types.is_integer, pa.types.is_floating),
    (pa.types.is_floating, pa.types.is_floating),
    (pa.types.is_date, pa.types.is_date),
    (pa.types.is_time, pa.types.is_time),
    (_is_naive, _is_naive),
    (_is_zoned, _is_zoned),
    (pa.types.is_nested, pa.types.is_nested),
)
"""Pairs of kinds between which Arrow's checked cast keeps values or fails."""
