"""Making an Iceberg table from its contract, and bringing an existing one along when the contract changes.

Columns are added, widened, documented and loosened; never dropped or narrowed. Rows are not touched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pyiceberg.exceptions import ResolveError
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema, promote
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table import TableProperties
from pyiceberg.types import DecimalType, IcebergType, NestedField

from lakehouse.errors import SchemaMismatch
from lakehouse.iceberg.schema import iceberg_type, partition_fields, partition_spec
from lakehouse.iceberg.window import WINDOW_COLUMN
from lakehouse.tables import Column, Table

RETIRED = "lakehouse.retired-columns"
"""The table property with the columns that the contract has no more: kept, and NULL in new rows (a JSON list)."""

_MB = 2**20
_FIXED = {
    TableProperties.FORMAT_VERSION: "2",
    TableProperties.PARQUET_COMPRESSION: "zstd",
    # Measured with four writers: all of 100 commits land, where PyIceberg's four retries lose some.
    TableProperties.COMMIT_NUM_RETRIES: "20",
    TableProperties.COMMIT_MIN_RETRY_WAIT_MS: "20",
    TableProperties.COMMIT_MAX_RETRY_WAIT_MS: "500",
    TableProperties.METADATA_DELETE_AFTER_COMMIT_ENABLED: "true",
    TableProperties.METADATA_PREVIOUS_VERSIONS_MAX: "100",
}


def properties_of(table: Table) -> dict[str, str]:
    """The Iceberg properties that follow from a contract."""
    properties = {
        **_FIXED,
        TableProperties.WRITE_TARGET_FILE_SIZE_BYTES: str(table.upkeep.target_file_mb * _MB),
        # Values of people do not belong into metadata that outlives their rows.
        **{f"write.metadata.metrics.column.{name}": "none" for name in sorted(table.personal_columns)},
    }
    if table.window_column is not None:
        properties[WINDOW_COLUMN] = table.window_column
    return properties


def evolve(existing: IcebergTable, table: Table) -> bool:
    """Stage and commit what the contract has gained; False if there was nothing. One attempt.

    Raises SchemaMismatch when the contract contradicts the table, CommitFailedException when another commit came
    between.
    """
    _check_partitioning(existing, table)
    fields = {field.name: field for field in existing.schema().fields}
    columns = {column.name: column for column in table.stored_columns}
    retired = _retired(fields, columns)
    empty = existing.metadata.current_snapshot() is None
    for column in table.stored_columns:
        _check_column(table, column, fields.get(column.name), empty=empty)
    changed = {column.name for column in table.stored_columns if _differs(column, fields.get(column.name))}
    properties = _changed_properties(existing, {**properties_of(table), **retired})
    if not changed and not properties:
        return False
    with existing.transaction() as transaction:
        if changed:
            with transaction.update_schema(allow_incompatible_changes=empty) as update:
                for name in (column.name for column in table.stored_columns if column.name in changed):
                    column, field = columns[name], fields.get(name)
                    kind, doc = iceberg_type(column.type), column.description or None
                    if field is None:
                        update.add_column(name, kind, doc=doc, required=column.required)
                    else:
                        looser = False if field.required and not column.required else None
                        update.update_column(name, field_type=kind, required=looser, doc=doc)
        if properties:
            transaction.set_properties(properties)
    return True


def _check_column(table: Table, column: Column, field: NestedField | None, *, empty: bool) -> None:
    if field is None:
        if column.required and not empty:
            raise SchemaMismatch(
                f"column {column.name!r} of {table.name} is new and required, but the table has rows without it",
                remedy=f"Declare it as not required in {table.file}, or drop the table and load it anew.",
            )
        return
    if not _grows(field.field_type, iceberg_type(column.type)):
        raise SchemaMismatch(
            f"column {column.name!r} of {table.name} has another type than its contract says",
            expected=f"{column.type} ({table.file})",
            found=f"{field.field_type} in the table",
            remedy="Put the type back, or drop the table and load it anew.",
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


def _differs(column: Column, field: NestedField | None) -> bool:
    """Whether a column is to be added or changed. A column that turned required stays optional: the door checks it."""
    if field is None:
        return True
    loosened = field.required and not column.required
    retyped = field.field_type != iceberg_type(column.type)
    return loosened or retyped or (column.description or None) != (field.doc or None)


def _retired(fields: Mapping[str, NestedField], columns: Mapping[str, Column]) -> dict[str, str]:
    """The property that names the columns the contract has lost. Raises SchemaMismatch if one of them is required."""
    gone = [name for name in fields if name not in columns]
    required = [name for name in gone if fields[name].required]
    if required:
        raise SchemaMismatch(
            f"the contract has no column {', '.join(required)} any more, and the table requires it",
            remedy="Put it back as not required first; then it may go, and stays NULL in new rows.",
        )
    return {RETIRED: json.dumps(gone)}


def _changed_properties(existing: IcebergTable, wanted: Mapping[str, str]) -> dict[str, str]:
    # The format version is a fact of the metadata, not one of its properties.
    settable = {key: value for key, value in wanted.items() if key != TableProperties.FORMAT_VERSION}
    absent = {RETIRED: "[]"}
    return {key: value for key, value in settable.items() if existing.properties.get(key, absent.get(key)) != value}


def _check_partitioning(existing: IcebergTable, table: Table) -> None:
    declared = partition_spec(partition_fields(table), _as_declared(existing.schema(), table))
    if _shape(existing.spec()) != _shape(declared):
        raise SchemaMismatch(
            f"{table.name} is partitioned in another way than its contract says",
            expected=f"{declared} ({table.file})",
            found=str(existing.spec()),
            remedy="Put it back, or drop the table and load it anew.",
        )


def _as_declared(schema: Schema, table: Table) -> Schema:
    """The table's schema with the contract's new columns, so that a spec over them can be compared."""
    known = set(schema.column_names)
    new = [column for column in table.stored_columns if column.name not in known]
    fields = [
        NestedField(schema.highest_field_id + number, column.name, iceberg_type(column.type))
        for number, column in enumerate(new, start=1)
    ]
    return Schema(*schema.fields, *fields)


def _shape(spec: PartitionSpec) -> list[tuple[int, str]]:
    return [(field.source_id, str(field.transform)) for field in spec.fields]
