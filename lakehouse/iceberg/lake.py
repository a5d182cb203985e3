"""The lake: all tables of one catalog and warehouse.

One table's work is `table.py`; SQL over all of them is `duck.py`.
"""

from __future__ import annotations

from functools import partial

from pyiceberg.exceptions import CommitFailedException, NoSuchNamespaceError, TableAlreadyExistsError
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import CommitConflict
from lakehouse.iceberg.catalogs.catalog import open_catalog
from lakehouse.iceberg.catalogs.safe import SafeCatalog
from lakehouse.iceberg.commits.progress import MAIN, check_format
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.iceberg.reads.relation import relation_sql
from lakehouse.iceberg.reads.scan import state_at
from lakehouse.iceberg.refs.at import At
from lakehouse.iceberg.schemas.evolve import evolve, properties_of
from lakehouse.iceberg.schemas.schema import iceberg_schema, partition_fields, partition_spec, sort_order
from lakehouse.iceberg.table import LakeTable
from lakehouse.settings import Settings
from lakehouse.tables import Layer, Table, TableName

_ATTEMPTS = 5


class Lake:
    """The tables of a catalog. Opening is cheap: one connection. Kept are that and files which never change."""

    def __init__(self, catalog: SafeCatalog) -> None:
        self._catalog = catalog
        self.views = catalog.views

    @classmethod
    def open(cls, settings: Settings) -> Lake:
        """The lake of the settings. Raises CatalogError when the catalog does not answer."""
        return cls(open_catalog(settings))

    def create(self, table: Table) -> LakeTable:
        """Make the table of a contract unless it is there; else add what the contract has gained.

        Raises SchemaMismatch when the contract contradicts the table, ContractError, CatalogError, StateError.
        """
        with catalog_errors(f"creating {table.name}"):
            self._catalog.ensure_namespace(table.name.layer.value)
            # What was a view model is a table now.
            self.views.remove(*table.name.key)
            if not self.exists(table.name) and self._make(table):
                return self.table(table.name)
            for _ in range(_ATTEMPTS):
                try:
                    evolve(self._load(table.name), table)
                except CommitFailedException:
                    continue
                return self.table(table.name)
        raise CommitConflict(f"other writers were faster {_ATTEMPTS} times on {table.name}", remedy="Run again.")

    def table(self, name: TableName) -> LakeTable:
        """A table by name. Raises TableMissing, and StateError when its files are not in the warehouse."""
        self._load(name)
        return LakeTable(name, partial(self._load, name))

    def look(self, name: TableName) -> LakeTable:
        """A table as it is now, to be asked several things of one state, read once; it is not for writing.

        Raises TableMissing, StateError, CatalogError.
        """
        loaded = self._load(name)
        return LakeTable(name, lambda: loaded)

    def relation_sql(self, name: TableName, at: At = MAIN) -> str:
        """A DuckDB relation of the table as it is now: at a branch or tag where the table has it, else main; at a time.

        Raises TableMissing, StateError, SnapshotMissing when the table does not remember that time.
        """
        loaded = self._load(name)
        elsewhere = isinstance(at, str) and at not in loaded.metadata.refs
        return relation_sql(state_at(name, loaded, MAIN if elsewhere else at))

    def exists(self, name: TableName) -> bool:
        """Whether the catalog knows the table."""
        with catalog_errors(f"looking for {name}"):
            return bool(self._catalog.has(name.key))

    def names(self) -> tuple[TableName, ...]:
        """Every table of the lake's layers, by layer and name."""
        with catalog_errors("listing tables"):
            found: list[TableName] = []
            for layer in Layer:
                try:
                    tables = self._catalog.list_tables(layer.value)
                except NoSuchNamespaceError:
                    continue
                found += [TableName(layer, identifier[-1]) for identifier in tables]
        return tuple(sorted(found))

    def drop(self, name: TableName) -> None:
        """Forget a table. Its files stay until upkeep or `make clean` removes them. Raises TableMissing."""
        with catalog_errors(f"dropping {name}"):
            self._catalog.drop_table(name.key)

    def _load(self, name: TableName) -> IcebergTable:
        with catalog_errors(f"opening {name}"):
            table = self._catalog.load_table(name.key)
        check_format(name, table.metadata)
        return table

    def _make(self, table: Table) -> bool:
        """Whether this process made the table."""
        schema = iceberg_schema(table.stored_columns)
        try:
            self._catalog.create_table(
                table.name.key,
                schema=schema,
                partition_spec=partition_spec(partition_fields(table), schema),
                sort_order=sort_order(table.sort_by, schema),
                properties=properties_of(table),
            )
        except TableAlreadyExistsError:
            return False
        return True
