"""The catalog in a SQL database: SQLite or PostgreSQL.

What all catalogs do alike is `safe.py`.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Literal, cast
from uuid import UUID

from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import CommitTableResponse
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRef
from pyiceberg.table.update import TableRequirement, TableUpdate, ValidatableTableRequirement
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session
from typing_extensions import override

from lakehouse.errors import StateError
from lakehouse.iceberg.catalogs.known_metadata import KnownMetadata
from lakehouse.iceberg.catalogs.patience import limit_waiting, patient
from lakehouse.iceberg.catalogs.safe import SafeCatalog
from lakehouse.iceberg.catalogs.views import SqlViews
from lakehouse.iceberg.failures import unreachable
from lakehouse.services.endpoints import catalog_uri
from lakehouse.settings import Settings
from lakehouse.storage.paths import from_uri, is_under


class SqlLakeCatalog(SafeCatalog, SqlCatalog):
    """SQLite or PostgreSQL. All tables lie in one warehouse, the settings'.

    A transaction that takes longer than `timeout_s` is cut (SQLite waits 5 s for a lock by itself).
    """

    def __init__(self, name: str, *, warehouse: str, timeout_s: float, **properties: str) -> None:
        self.warehouse = warehouse
        self._timeout_s = timeout_s
        self._known = KnownMetadata()
        super().__init__(name, warehouse=warehouse, **properties)
        # Nobody has to close a lake: its connections go with it, or with the process.
        weakref.finalize(self, self.engine.dispose)

    @property
    def views(self) -> SqlViews:
        """In a table beside the catalog's own: PyIceberg's SQL catalog has no views."""
        return SqlViews(self.engine, self.name)

    def swap(
        self, table: IcebergTable, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        """One UPDATE that asks for the metadata file it replaces."""
        made = SqlCatalog.commit_table(self, table, requirements, updates)
        self._known.keep(made.metadata_location, made.metadata)
        return made

    def as_planned(self, metadata: TableMetadata) -> tuple[TableRequirement, ...]:
        """A requirement of ours, checked against the very metadata that is swapped."""
        return (cast("TableRequirement", AssertAsPlanned.on(metadata)),)

    @property
    def sees_new_refs(self) -> bool:
        """It does."""
        return True

    def metadata_files(self) -> Mapping[tuple[str, ...], str | None]:
        """By one query."""
        wanted = select(IcebergTables).where(IcebergTables.catalog_name == self.name)
        if (only_tables := self._iceberg_type_filter()) is not None:
            wanted = wanted.where(only_tables)
        with Session(self.engine) as session:
            return {
                (*self.identifier_to_tuple(row.table_namespace), row.table_name): row.metadata_location
                for row in session.scalars(wanted)
            }

    def load_table(self, identifier: str | tuple[str, ...]) -> IcebergTable:
        """The table as it is now. Raises NoSuchTableError, and StateError when the warehouse is not where it was."""
        try:
            table = super().load_table(identifier)
        except FileNotFoundError as error:
            raise self._moved(identifier, f"nothing ({error})") from error
        if not is_under(table.metadata.location, self.warehouse):
            raise self._moved(identifier, table.metadata.location)
        return table

    @override
    def _init_catalog(self) -> None:
        # The engine is made by now, and not used yet.
        limit_waiting(self.engine, self._timeout_s)
        super()._init_catalog()

    @override
    def _convert_orm_to_iceberg(self, orm_table: IcebergTables) -> IcebergTable:
        location = orm_table.metadata_location
        metadata = None if location is None else self._known.get(location)
        if location is None or metadata is None:
            table = super()._convert_orm_to_iceberg(orm_table)
            self._known.keep(table.metadata_location, table.metadata)
            return table
        name = (*self.identifier_to_tuple(orm_table.table_namespace), orm_table.table_name)
        return IcebergTable(name, metadata, location, self._load_file_io(metadata.properties, location), self)

    def _moved(self, identifier: str | tuple[str, ...], found: str) -> StateError:
        name = identifier if isinstance(identifier, str) else ".".join(identifier)
        return StateError(
            f"table {name} is not in the warehouse that the settings name: the folder was moved or another one is set",
            expected=f"the table under {self.warehouse}",
            found=found,
            remedy="Move the folder back (Iceberg stores absolute paths), or start anew with `make clean`.",
        )


class AssertAsPlanned(ValidatableTableRequirement):
    """Refs, snapshots and properties of a table are what they were. No server knows this requirement."""

    type: Literal["assert-as-planned"] = "assert-as-planned"
    table_uuid: UUID
    refs: Mapping[str, SnapshotRef]
    snapshot_ids: frozenset[int]
    properties: Mapping[str, str]

    @classmethod
    def on(cls, metadata: TableMetadata) -> AssertAsPlanned:
        """The requirement that nothing of it has changed since."""
        return cls(
            table_uuid=metadata.table_uuid,
            refs=metadata.refs,
            snapshot_ids=frozenset(snapshot.snapshot_id for snapshot in metadata.snapshots),
            properties=metadata.properties,
        )

    @override
    def validate(self, base_metadata: TableMetadata | None) -> None:  # type: ignore[override]  # PyIceberg's own name
        """Raise CommitFailedException when something has."""
        if base_metadata is None or AssertAsPlanned.on(base_metadata) != self:
            raise CommitFailedException("the table's refs, snapshots or properties changed since this was planned")


def open_sql(settings: Settings, properties: dict[str, str]) -> SqlLakeCatalog:
    """The catalog in the settings' database, `embedded://` among them. Raises CatalogError when it does not answer."""
    warehouse = from_uri(settings.warehouse)
    name, timeout_s = settings.catalog.name, settings.catalog.timeout_s
    for attempt in (1, 2):
        try:
            uri = patient(catalog_uri(settings).get_secret_value())
            return SqlLakeCatalog(name, warehouse=warehouse, timeout_s=timeout_s, uri=uri, **properties)
        except DBAPIError as error:
            # Two processes that open a new catalog at once both create its tables; the second finds them made.
            if attempt == 2:  # noqa: PLR2004  (the last of the two)
                raise unreachable(error) from None
        except (SQLAlchemyError, ImportError) as error:
            raise unreachable(error) from None
    raise AssertionError  # pragma: no cover  # the loop returns or raises
