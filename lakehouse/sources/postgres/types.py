"""How a PostgreSQL column is read: the SQL that asks for it, and the Arrow type it gets back.

ADBC hands numerics over as text, at three times the cost of integers, so a numeric of known scale is read as `(c *
10^scale)::bigint` and becomes a decimal here. What Arrow has no type for is read as text. The types of the lake do not
belong here: the door casts.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.sources.postgres.catalog import CatalogColumn
from lakehouse.tables.sql import quote

_NATIVE = {
    *("int2", "int4", "int8", "float4", "float8", "bool", "text", "varchar", "bpchar"),
    *("date", "timestamp", "timestamptz", "time", "bytea"),
}
_MAX_DIGITS = 18
_NAN = -(2**63)
"""No numeric of 18 digits reaches it: it stands for NaN, which bigint cannot hold and the door must see."""


def select_list(columns: Sequence[CatalogColumn]) -> str:
    """The select list for these columns, under their own names."""
    return ", ".join(f"{_expression(column)} as {quote(column.name)}" for column in columns)


def as_json(columns: Sequence[CatalogColumn]) -> str:
    """The SQL of a JSON object of these columns, as text."""
    names = ", ".join(quote(column.name) for column in columns)
    return f"to_json((select named from (select {names}) named))::text"


def content_hash(columns: Sequence[CatalogColumn]) -> str:
    """The SQL of a hash of a row's values in these columns: another one when any of them changes."""
    return f"md5(row({', '.join(quote(column.name) for column in columns)})::text)"


def retype(batch: pa.RecordBatch, columns: Sequence[CatalogColumn]) -> pa.Table:
    """A batch of such a select list, with scaled integers turned back into decimals."""
    arrays = [
        _decimal(array, column) if _scaled(column) else array
        for array, column in zip(batch.columns, columns, strict=True)
    ]
    return pa.table(arrays, names=[column.name for column in columns])


def _scaled(column: CatalogColumn) -> bool:
    precision, scale = column.precision, column.scale
    return precision is not None and scale is not None and 0 <= scale <= precision <= _MAX_DIGITS


def _expression(column: CatalogColumn) -> str:
    name = quote(column.name)
    if _scaled(column):
        factor = 10 ** (column.scale or 0)
        return f"case when {name} = 'NaN' then ({_NAN})::bigint else ({name} * {factor})::bigint end"
    if column.base in _NATIVE:
        return name
    # Arrays (A) and composites (C) as JSON, which every reader of the lake knows; PostgreSQL's own form it does not.
    return f"to_json({name})::text" if column.category in {"A", "C"} else f"{name}::text"


def _decimal(array: pa.Array, column: CatalogColumn) -> pa.Array:
    lowest = pc.min(array).as_py()
    whole = array.cast(pa.decimal128(19, 0))
    exact = pa.Array.from_buffers(
        pa.decimal128(column.precision, column.scale), len(whole), whole.buffers(), whole.null_count, whole.offset
    )
    if lowest != _NAN:
        return exact
    return pc.if_else(pc.equal(array, _NAN), "NaN", exact.cast(pa.string()))
