"""Columns of a contract as Iceberg and Arrow types; partition specs and sort orders.

How an existing table follows its contract is `evolve.py`; how rows are brought to a schema is `conform.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa
from pydantic import ValidationError
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.partitioning import PARTITION_FIELD_ID_START, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import NullOrder, SortDirection, SortField, SortOrder
from pyiceberg.transforms import IdentityTransform, UnknownTransform, parse_transform
from pyiceberg.types import IcebergType, NestedField, PrimitiveType

from lakehouse.errors import ContractError
from lakehouse.tables import Column, Table
from lakehouse.tables import PartitionField as DeclaredField
from lakehouse.tables.types import DUCKDB_TYPES

_UNWRITABLE = {"timestamp_ns", "timestamptz_ns", "unknown"}


def iceberg_type(text: str) -> PrimitiveType:
    """The Iceberg type of a text such as "long" or "decimal(12, 2)". Raises ContractError for what v2 cannot hold."""
    try:
        parsed = IcebergType.model_validate(text.strip().lower())
    except (ValidationError, ValueError):
        parsed = None
    if not isinstance(parsed, PrimitiveType) or str(parsed) in _UNWRITABLE:
        known = ", ".join([*DUCKDB_TYPES, "decimal(p, s)", "fixed[n]"])
        raise ContractError(f"{text!r} is not an Iceberg type", expected=f"one of {known}", remedy="Mend the contract.")
    return parsed


def iceberg_schema(columns: Sequence[Column]) -> Schema:
    """An Iceberg schema with docs, required flags and field ids 1, 2, ... in the order of the columns."""
    return Schema(*(nested_field(number, column) for number, column in enumerate(columns, start=1)))


def nested_field(field_id: int, column: Column) -> NestedField:
    """One column as an Iceberg field."""
    return NestedField(
        field_id=field_id,
        name=column.name,
        field_type=iceberg_type(column.type),
        required=column.required,
        doc=column.description or None,
    )


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema that rows of these columns are written in: UTC microseconds, required columns non-null."""
    return arrow_of(iceberg_schema(columns), field_ids=False)


def arrow_of(schema: Schema, *, field_ids: bool) -> pa.Schema:
    """The Arrow schema of an Iceberg schema; `field_ids` as Parquet files need them."""
    converted = schema_to_pyarrow(schema, include_field_ids=field_ids)
    return pa.schema([field.with_type(_small(field.type)) for field in converted])


def partition_fields(table: Table) -> tuple[DeclaredField, ...]:
    """What the table is partitioned by: as declared, and by the day of its window column."""
    window = table.window_column
    if window is None or any(field.column == window for field in table.partition_by):
        return table.partition_by
    return (*table.partition_by, DeclaredField(window, "day"))


def partition_spec(fields: Sequence[DeclaredField], schema: Schema) -> PartitionSpec:
    """The partition spec of declared fields. Raises ContractError for an unknown column or transform."""
    built: list[PartitionField] = []
    for number, declared in enumerate(fields):
        source = find_column(schema, declared.column)
        transform = parse_transform(declared.transform)
        if isinstance(transform, UnknownTransform) or not transform.can_transform(source.field_type):
            raise ContractError(
                f"column {declared.column!r} ({source.field_type}) cannot be partitioned by {declared.transform!r}",
                expected="identity, year, month, day, hour, bucket[n] or truncate[n], as the column's type allows",
                remedy="Mend `partition_by` in the contract.",
            )
        built.append(
            PartitionField(
                source_id=source.field_id,
                field_id=PARTITION_FIELD_ID_START + number,
                transform=transform,
                name=_partition_name(declared),
            )
        )
    return PartitionSpec(*built)


def sort_order(names: Sequence[str], schema: Schema) -> SortOrder:
    """Ascending by these columns, NULL last as Arrow and DuckDB sort. Raises ContractError for an unknown column."""
    return SortOrder(
        *(
            SortField(
                source_id=find_column(schema, name).field_id,
                transform=IdentityTransform(),
                direction=SortDirection.ASC,
                null_order=NullOrder.NULLS_LAST,
            )
            for name in names
        )
    )


def find_column(schema: Schema, name: str) -> NestedField:
    """The top-level field of that name. Raises ContractError."""
    for field in schema.fields:
        if field.name == name:
            return field
    raise ContractError(
        f"there is no column {name!r}",
        expected=f"one of {', '.join(field.name for field in schema.fields)}",
        remedy="Mend the contract.",
    )


def _partition_name(declared: DeclaredField) -> str:
    """As Iceberg's Java library names them, so that another engine's tools show what people know."""
    kind, width = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", declared.transform).groups()  # type: ignore[union-attr]  # parsed
    if kind == "identity":
        return declared.column
    return f"{declared.column}_{'trunc' if kind == 'truncate' else kind}" + (f"_{width}" if width else "")


def _small(kind: pa.DataType) -> pa.DataType:
    """PyIceberg speaks of large strings; batches of 2 GiB of text in one column are not what we write."""
    if pa.types.is_large_string(kind):
        return pa.string()
    return pa.binary() if pa.types.is_large_binary(kind) else kind
