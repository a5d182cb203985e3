"""What an existing table should look like by its contract: columns, partitions, sort order. Nothing is written here.

Committing it is `evolve.py`; a new table's parts are `schema.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pyiceberg.exceptions import ResolveError
from pyiceberg.partitioning import PartitionSpec, validate_partition_name
from pyiceberg.schema import Schema, promote
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.sorting import SortOrder
from pyiceberg.types import DecimalType, IcebergType, NestedField

from lakehouse.errors import SchemaMismatch
from lakehouse.iceberg.schemas.schema import iceberg_type, nested_field, partition_fields, partition_spec, sort_order
from lakehouse.iceberg.selection.window import BUSINESS_DAY, WINDOW_COLUMN
from lakehouse.tables import BusinessDay, Column, Table


@dataclass(frozen=True)
class Wanted:
    """A table as its contract wants it. Field ids of `schema` are final; `spec` and `order` are about that schema.

    `retired` are columns that the contract has no more: kept, and NULL in new rows.
    """

    schema: Schema
    spec: PartitionSpec
    order: SortOrder
    retired: tuple[str, ...]


def wanted(metadata: TableMetadata, table: Table) -> Wanted:
    """The existing table, brought to its contract. Raises SchemaMismatch where its rows forbid that, ContractError."""
    existing = {field.name: field for field in metadata.schema().fields}
    empty = metadata.current_snapshot() is None
    if not empty:
        _check_days(table, metadata)
    fields: list[NestedField] = []
    last_id = metadata.last_column_id
    for column in table.stored_columns:
        field = _known(table, column, existing)
        if field is None:
            _check_new(table, column, empty=empty)
            last_id += 1
            # Optional in any case: a write that began before knows nothing of the column. The door checks it.
            fields.append(nested_field(last_id, replace(column, required=False)))
        else:
            fields.append(_brought(table, column, field))
    kept = {field.field_id for field in fields}
    retired = [field for field in existing.values() if field.field_id not in kept and field.name not in table.drop]
    _check_retired(retired)
    dropped = {existing[name].field_id: name for name in table.drop if name in existing}
    _check_dropped(table, metadata, {of: name for of, name in dropped.items() if of not in kept})
    present = kept | {field.field_id for field in retired}
    schema = Schema(
        *fields, *retired, identifier_field_ids=[of for of in metadata.schema().identifier_field_ids if of in present]
    )
    spec = partition_spec(partition_fields(table), schema)
    _check_names(table, metadata, schema, spec)
    names = tuple(field.name for field in retired)
    return Wanted(schema, spec, sort_order(table.sort_by, schema), names)


def _check_days(table: Table, metadata: TableMetadata) -> None:
    """A column whose days are of two time zones would have rows of one moment in two days."""
    column = table.window_column
    if column is None or metadata.properties.get(WINDOW_COLUMN) not in {column, table.column(column).renamed_from}:
        return
    stated = metadata.properties.get(BUSINESS_DAY)
    before = BusinessDay(*json.loads(stated)) if stated else None
    now = table.business_day
    if before is not None and now is not None and table.column(now.column).renamed_from == before.column:
        before = replace(before, column=now.column)
    if before != now:
        raise SchemaMismatch(
            f"{column} of {table.name} is another day than that of the rows that the table has",
            expected=str(now or "the source's own") + f" ({table.file})",
            found=str(before or "the source's own"),
            remedy="Put `from` and `zone` of the window back, or give the table another name and load it anew.",
        )


def _known(table: Table, column: Column, existing: Mapping[str, NestedField]) -> NestedField | None:
    """The field that holds a column's values, under its name or its former one."""
    former = existing.get(column.renamed_from) if column.renamed_from else None
    if former is not None and column.name in existing:
        raise SchemaMismatch(
            f"column {column.name!r} of {table.name} is renamed from {column.renamed_from!r}, and the table has both",
            remedy=f"Remove `renamedFrom` from {table.file}; `drop` removes the one that is not needed.",
        )
    return former or existing.get(column.name)


def _check_new(table: Table, column: Column, *, empty: bool) -> None:
    if column.required and not empty:
        raise SchemaMismatch(
            f"column {column.name!r} of {table.name} is new and required, but the table has rows without it",
            remedy=f"Declare it as not required in {table.file}, or drop the table and load it anew.",
        )


def _brought(table: Table, column: Column, field: NestedField) -> NestedField:
    """An existing field as its column wants it. One that turned required stays optional: the door checks it."""
    kind = iceberg_type(column.type)
    if not _grows(field.field_type, kind):
        raise SchemaMismatch(
            f"column {column.name!r} of {table.name} has another type than its contract says",
            expected=f"{column.type} ({table.file})",
            found=f"{field.field_type} in the table",
            remedy="Put the type back, or drop the table and load it anew.",
        )
    return field.model_copy(
        update={
            "name": column.name,
            "field_type": kind,
            "required": field.required and column.required,
            "doc": column.description or None,
        }
    )


def _grows(old: IcebergType, new: IcebergType) -> bool:
    """Whether every value of the old type is one of the new (Iceberg spec, "Schema Evolution")."""
    if isinstance(old, DecimalType) and isinstance(new, DecimalType):
        # PyIceberg's own check lets the scale change, which would move the point in rows that are there.
        return old.scale == new.scale and old.precision <= new.precision
    if old == new:
        # `promote` refuses some of these, for instance string, for the sake of string to binary.
        return True
    try:
        return bool(promote(old, new) == new)
    except ResolveError:
        return False


def _check_retired(retired: Sequence[NestedField]) -> None:
    if required := [field.name for field in retired if field.required]:
        raise SchemaMismatch(
            f"the contract has no column {', '.join(required)} any more, and the table requires it",
            remedy="Put it back as not required first; then it may go, and stays NULL in new rows. Or name it under"
            " `drop`, and its values go too.",
        )


def _check_dropped(table: Table, metadata: TableMetadata, dropped: Mapping[int, str]) -> None:
    """DuckDB 1.5.5 ends the whole process over a partition spec, even an old one, whose column is gone."""
    sources = {field.source_id for spec in metadata.partition_specs for field in spec.fields}
    if used := sorted(dropped[of] for of in sources & dropped.keys()):
        raise SchemaMismatch(
            f"{', '.join(used)} of {table.name} cannot be dropped: files are, or were once, partitioned by it",
            remedy=f"Remove it from `drop` in {table.file}: then it stays, and is NULL in new rows.",
        )


def _check_names(table: Table, metadata: TableMetadata, schema: Schema, spec: PartitionSpec) -> None:
    """No column may have the name of a partition field of another column."""
    for field in (*spec.fields, *(field for past in metadata.partition_specs for field in past.fields)):
        try:
            validate_partition_name(field.name, field.transform, field.source_id, schema, set())
        except ValueError as error:
            raise SchemaMismatch(
                f"a column of {table.name} has the name of a partition field",
                found=str(error),
                remedy="Choose another name for the column.",
            ) from error
