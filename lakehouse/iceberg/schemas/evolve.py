"""Making an Iceberg table from its contract, and bringing an existing one along when the contract changes.

What the table should look like is `wanted.py`. Rows are not touched: files keep the columns and partitions that they
were written with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import copy
from datetime import timedelta

import structlog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table import TableProperties, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.name_mapping import NameMapping, update_mapping
from pyiceberg.table.update import (
    AddSchemaUpdate,
    AssertCurrentSchemaId,
    SetCurrentSchemaUpdate,
    SetPropertiesUpdate,
    TableUpdate,
)

from lakehouse.errors import SchemaMismatch
from lakehouse.iceberg.commits.commit import NOTHING, Beside
from lakehouse.iceberg.commits.progress import FORMAT, FORMAT_VERSION
from lakehouse.iceberg.schemas.wanted import Wanted, wanted
from lakehouse.iceberg.selection.window import BUSINESS_DAY, WINDOW_COLUMN
from lakehouse.tables import METADATA_COLUMNS, Evolution, Table

_log = structlog.get_logger(__name__)

RETIRED = "lakehouse.retired-columns"
"""The table property with the columns that the contract has no more: kept, and NULL in new rows (a JSON list)."""

_OURS = frozenset(f"{column.name} is new" for column in METADATA_COLUMNS)
_OF_WINDOWS = {WINDOW_COLUMN, BUSINESS_DAY}
_METRICS = "write.metadata.metrics.column."
_MB = 2**20
_MS = timedelta(milliseconds=1)
_FIXED = {
    TableProperties.FORMAT_VERSION: "2",
    FORMAT: FORMAT_VERSION,
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
        TableProperties.MAX_SNAPSHOT_AGE_MS: str(table.upkeep.keep_snapshots // _MS),
        # Values of people do not belong into metadata that outlives their rows.
        **{f"{_METRICS}{name}": "none" for name in sorted(table.personal_columns)},
    }
    if table.window_column is not None:
        properties[WINDOW_COLUMN] = table.window_column
    if table.business_day is not None:
        properties[BUSINESS_DAY] = json.dumps([table.business_day.column, table.business_day.zone])
    return properties


def evolve(existing: IcebergTable, table: Table) -> bool:
    """Bring a table to its contract in one commit; False if there was nothing to do. One attempt.

    Raises SchemaMismatch when the contract contradicts the table, or the table is frozen; ContractError;
    CommitFailedException when another commit came between.
    """
    with existing.transaction() as transaction:
        return _follow(transaction, table)


def following(existing: IcebergTable, table: Table) -> tuple[IcebergTable, Beside]:
    """A table as it is once it follows its contract, and what a commit has to swap beside its rows for that.

    Raises what `evolve` does, but for CommitFailedException: nothing is asked of the catalog.
    """
    transaction = existing.transaction()
    if not _follow(transaction, table):
        return existing, NOTHING
    after = copy(existing)
    after.metadata = transaction.table_metadata
    return after, (transaction._requirements, transaction._updates)  # noqa: SLF001  (they are swapped with a snapshot)


def _follow(transaction: Transaction, table: Table) -> bool:
    """Stage what brings a table to its contract, if there is anything to do."""
    metadata = transaction.table_metadata
    want = wanted(metadata, table)
    differences = _differences(metadata, want)
    # A metadata column that a newer version of this package adds is no change of the contract.
    stated = [difference for difference in differences if difference not in _OURS]
    if stated and table.evolution is Evolution.FREEZE:
        raise SchemaMismatch(
            f"{table.name} is frozen, and is not what its contract says",
            expected=str(table.file),
            found="; ".join(stated),
            remedy="Put the contract back, or let the table follow it: the customProperty `evolution: evolve`.",
        )
    properties = {**properties_of(table), RETIRED: json.dumps(want.retired)}
    changed, stale = _changed_properties(metadata.properties, properties)
    if not differences and not changed and not stale:
        return False
    _stage(transaction, want)
    if changed:
        transaction.set_properties(changed)
    if stale:
        transaction.remove_properties(*stale)
    _log.info("table follows its contract", table=str(table.name), changes=differences)
    return True


def _stage(transaction: Transaction, want: Wanted) -> None:
    """Schema first: partitions and sort order may be about its new columns."""
    if want.schema != transaction.table_metadata.schema():
        _stage_schema(transaction, want)
    metadata = transaction.table_metadata
    declared = {_shape(field): field for field in want.spec.fields}
    current = {_shape(field): field for field in metadata.spec().fields}
    if declared.keys() != current.keys():
        with transaction.update_spec() as spec:
            for shape in current.keys() - declared.keys():
                spec.remove_field(current[shape].name)
            for shape, field in declared.items():
                if shape not in current:
                    spec.add_field(want.schema.find_column_name(field.source_id) or "", field.transform, field.name)
    if want.order.fields != metadata.sort_order().fields:
        with transaction.update_sort_order() as order:
            for sort in want.order.fields:
                order.asc(want.schema.find_column_name(sort.source_id) or "", sort.transform, sort.null_order)


def _stage_schema(transaction: Transaction, want: Wanted) -> None:
    """The schema as a whole: PyIceberg's own update has no way to say an order of all columns."""
    metadata = transaction.table_metadata
    known = next((past.schema_id for past in metadata.schemas if past == want.schema), None)
    new = want.schema.model_copy(update={"schema_id": 1 + max(past.schema_id for past in metadata.schemas)})
    updates: tuple[TableUpdate, ...] = (
        (AddSchemaUpdate(schema_=new), SetCurrentSchemaUpdate(schema_id=-1))
        if known is None
        else (SetCurrentSchemaUpdate(schema_id=known),)
    )
    unchanged = AssertCurrentSchemaId(current_schema_id=metadata.current_schema_id)
    if (mapping := metadata.name_mapping()) is not None:
        updates += (
            SetPropertiesUpdate(updates={TableProperties.DEFAULT_NAME_MAPPING: _mapped(mapping, metadata, new)}),
        )
    transaction._apply(updates, (unchanged,))  # noqa: SLF001  (no public method takes a whole schema)


def _mapped(mapping: NameMapping, metadata: TableMetadata, new: Schema) -> str:
    """The names that files without field ids are read by (of another program's `add_files`), with the new ones."""
    known = {field.field_id for field in metadata.schema().fields}
    changed = {field.field_id: field for field in new.fields if field.field_id in known}
    added = [field for field in new.fields if field.field_id not in known]
    return update_mapping(mapping, changed, {-1: added} if added else {}).model_dump_json()


def _differences(metadata: TableMetadata, want: Wanted) -> list[str]:
    """What of columns, partitions and sort order is not as wanted, for people."""
    already = json.loads(metadata.properties.get(RETIRED, "[]"))
    before, after = ({field.field_id: field for field in schema.fields} for schema in (metadata.schema(), want.schema))
    found = [f"{field.name} is new" for of, field in after.items() if of not in before]
    found += [f"{field.name} goes" for of, field in before.items() if of not in after]
    for of in before.keys() & after.keys():
        old, new = before[of], after[of]
        if old != new:
            found.append(f"{old} becomes {new}")
    found += [f"{name} is not in the contract any more" for name in want.retired if name not in already]
    shared = [of for of in before if of in after]
    if shared != [of for of in after if of in before]:
        found.append(f"the order of columns becomes {', '.join(field.name for field in want.schema.fields)}")
    elif not found and metadata.schema() != want.schema:
        found.append(f"the columns become {', '.join(field.name for field in want.schema.fields)}")
    if {_shape(field) for field in metadata.spec().fields} != {_shape(field) for field in want.spec.fields}:
        found.append(f"partitions {_named(metadata.spec())} become {_named(want.spec)}")
    if metadata.sort_order().fields != want.order.fields:
        names = (want.schema.find_column_name(field.source_id) for field in want.order.fields)
        found.append(f"the sort order becomes {', '.join(map(str, names)) or 'none'}")
    return found


def _shape(field: PartitionField) -> tuple[int, str]:
    return field.source_id, str(field.transform)


def _named(spec: PartitionSpec) -> str:
    return ", ".join(field.name for field in spec.fields) or "none"


def _changed_properties(
    existing: Mapping[str, str], wanted_properties: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """What to set, and which of ours to remove."""
    # The format version is a fact of the metadata, not one of its properties.
    settable = {key: value for key, value in wanted_properties.items() if key != TableProperties.FORMAT_VERSION}
    absent = {RETIRED: "[]"}
    changed = {key: value for key, value in settable.items() if existing.get(key, absent.get(key)) != value}
    ours = [key for key in existing if key.startswith(_METRICS) or key in _OF_WINDOWS]
    return changed, [key for key in ours if key not in settable]
