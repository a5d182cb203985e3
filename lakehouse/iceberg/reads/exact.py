"""Rows in a form in which equal means the same: what DuckDB would compare more loosely goes by its bits.

DuckDB takes -0.0 for 0.0, has its own infinities among dates and times, and no fixed binary. So floats, dates and times
travel as integers, UUIDs and fixed binary as binary, and columns by their position, for names may differ in case only.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc


def position(number: int) -> str:
    """The name that the column at a position travels under."""
    return f"c{number}"


def encoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch in that form. NaN is one value, whatever its bits. Floats inside of nested columns stay as they are."""
    columns = [_encoded(column) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=[position(number) for number in range(len(columns))])


def encoded_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of encoded batches."""
    return encoded(pa.RecordBatch.from_pylist([], schema=schema)).schema


def decoded(columns: Sequence[pa.Array], schema: pa.Schema) -> pa.RecordBatch:
    """Encoded columns as they were, in a batch of the schema."""
    arrays = [_decoded(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _bits(kind: pa.DataType) -> pa.DataType | None:
    """The integer type that holds the bits of a type, for types that travel so."""
    if not (pa.types.is_floating(kind) or pa.types.is_temporal(kind)):
        return None
    return pa.int32() if kind.bit_width == pa.int32().bit_width else pa.int64()


def _encoded(array: pa.Array) -> pa.Array:
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_fixed_size_binary(array.type):
        return array.cast(pa.binary())
    if pa.types.is_floating(array.type):
        array = pc.if_else(pc.is_nan(array), pa.scalar(float("nan"), array.type), array)
    bits = _bits(array.type)
    return array if bits is None else array.view(bits)


def _decoded(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, array.cast(kind.storage_type))
    return array.cast(kind) if _bits(kind) is None else array.view(kind)
