"""The columns that a contract lists, and its primary key.

Keys of the standard that would have no effect here are errors, so that nobody relies on them.
"""

from __future__ import annotations

from collections.abc import Iterator

from open_data_contract_standard.model import OpenDataContractStandard, SchemaObject, SchemaProperty

from lakehouse.contracts.document import Place
from lakehouse.contracts.types import iceberg_type
from lakehouse.tables import Column, Layer, TableName

_CLASSES = ("public", "internal", "confidential", "restricted", "personal")
_UNUSED_OF_COLUMNS = ("physicalName", "encryptedName", "partitioned", "properties", "items", "map")
_UNUSED_OF_TABLES = ("physicalName", "customProperties")


def table_schema(contract: OpenDataContractStandard, name: TableName, top: Place) -> tuple[SchemaObject, Place]:
    """The one schema object of a contract, and its place. Raises ContractError when it is not that of the file."""
    place = top / "schema"
    if len(contract.schema_ or []) != 1:
        raise place.error(
            "a contract describes one table", found=f"{len(contract.schema_ or [])}", remedy="List one under `schema`."
        )
    schema = (contract.schema_ or [])[0]
    if schema.name != name.table:
        raise (place / 0 / "name").error(
            "the table's name differs from the file's",
            expected=name.table,
            found=str(schema.name),
            remedy="Rename one of the two.",
        )
    _refuse_unused(schema, _UNUSED_OF_TABLES, place / 0)
    if not schema.properties:
        raise (place / 0 / "properties").error("the table has no columns", remedy="List them under `properties`.")
    return schema, place / 0


def table_columns(schema: SchemaObject, name: TableName, place: Place) -> Iterator[Column]:
    """The columns in order. Raises ContractError for a name, type or key that cannot be used."""
    seen: dict[str, Place] = {}
    for position, prop in enumerate(schema.properties or []):
        at = place / position
        if not prop.name:
            raise at.error("a column without a name", remedy="Add `name`.")
        if prop.name.startswith("_"):
            raise (at / "name").error(
                f"column {prop.name!r} begins with _, which is reserved", remedy="Rename it; _ is the lakehouse's own."
            )
        # DuckDB does not tell upper from lower case.
        if (other := seen.get(prop.name.lower())) is not None:
            raise (at / "name").error(
                f"column {prop.name!r} is named twice", found=f"the other at {other}", remedy="Remove or rename one."
            )
        seen[prop.name.lower()] = at / "name"
        _refuse_unused(prop, _UNUSED_OF_COLUMNS, at)
        if prop.classification not in {None, *_CLASSES}:
            raise (at / "classification").unknown("classification", prop.classification, _CLASSES)
        if prop.unique and name.layer is Layer.BRONZE:
            raise (at / "unique").error(
                "no column of a bronze table is unique, for it keeps every version",
                remedy="Say it of the silver table.",
            )
        renamed_from = _renamed_from(prop, at)
        timezone = (prop.logicalTypeOptions or {}).get("timezone", True) is not False
        yield Column(
            name=prop.name,
            type=iceberg_type(prop.logicalType, prop.physicalType, at, timezone=timezone),
            required=bool(prop.required or prop.primaryKey),
            description=prop.description or prop.businessName or "",
            personal=prop.classification == "personal",
            unique=bool(prop.unique),
            renamed_from=renamed_from,
        )
    _check_renames(schema, place)


def primary_key_of(schema: SchemaObject, name: TableName, place: Place) -> tuple[str, ...]:
    """Names of the key's columns, in the order of their positions. Only a bronze table may have none."""
    keys = [prop for prop in schema.properties or [] if prop.primaryKey]
    if not keys and name.layer is not Layer.BRONZE:
        raise place.error("missing primary key", remedy="Mark what identifies a row with `primaryKey: true`.")
    for position, prop in enumerate(schema.properties or []):
        if prop.primaryKeyPosition is not None and not prop.primaryKey:
            raise (place / "properties" / position / "primaryKeyPosition").error(
                f"{prop.name} has a place in the primary key and is not in it", remedy="Add `primaryKey: true`."
            )
    # Python's sort is stable: without positions the order is that of the columns.
    return tuple(str(prop.name) for prop in sorted(keys, key=lambda prop: prop.primaryKeyPosition or 0))


def _renamed_from(prop: SchemaProperty, place: Place) -> str | None:
    """The column's customProperty `renamedFrom`, the only one that a column may have."""
    found: str | None = None
    for position, entry in enumerate(prop.customProperties or []):
        at = place / "customProperties" / position
        if entry.property != "renamedFrom":
            raise (at / "property").unknown("customProperty of a column", entry.property, ("renamedFrom",))
        if found is not None:
            raise (at / "property").error("renamedFrom is stated twice", remedy="Remove one of them.")
        if not isinstance(entry.value, str) or not entry.value:
            raise (at / "value").error(
                "renamedFrom is the column's former name", found=repr(entry.value), remedy="Write that name."
            )
        found = entry.value
    return found


def _check_renames(schema: SchemaObject, place: Place) -> None:
    """A former name belongs to one column, and is no column's name now: else it is not clear whose values it has."""
    names = {prop.name for prop in schema.properties or []}
    seen: set[str] = set()
    for position, prop in enumerate(schema.properties or []):
        at = place / position
        former = _renamed_from(prop, at)
        if former is None:
            continue
        if former in names or former in seen:
            raise (at / "customProperties").error(
                f"{prop.name} is renamed from {former}, which is another column's",
                remedy="Rename in two steps, and load or build the table in between.",
            )
        seen.add(former)


def _refuse_unused(model: SchemaObject | SchemaProperty, keys: tuple[str, ...], place: Place) -> None:
    for key in keys:
        if getattr(model, key) is not None:
            raise (place / key).error(
                f"{key} would have no effect",
                remedy="Remove it; partitions, sort order and the like are customProperties of the contract.",
            )
