"""The catalog: which metadata file is a table's current one, and the compare-and-swap that changes it.

`SafeCatalog` never believes a refusal before it has looked for its own snapshot. What is in a commit is `commit.py`;
what drivers and disks raise is turned into our errors by `failures.py`.
"""

from __future__ import annotations

import weakref

import structlog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
)
from pyiceberg.table import CommitTableResponse
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import ancestors_of
from pyiceberg.table.update import AddSnapshotUpdate, SetSnapshotRefUpdate, TableRequirement, TableUpdate
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from lakehouse.errors import CatalogError, StateError
from lakehouse.iceberg.failures import reason_of
from lakehouse.services.endpoints import catalog_uri
from lakehouse.settings import Settings
from lakehouse.storage.paths import from_uri, is_s3, is_under

_log = structlog.get_logger(__name__)

_STALE = "older than last sequence number"


class SafeCatalog(SqlCatalog):
    """SQLite or PostgreSQL, with a commit whose answer is only believed after a look."""

    def __init__(self, name: str, *, warehouse: str, **properties: str) -> None:
        self.warehouse = warehouse
        super().__init__(name, warehouse=warehouse, **properties)
        # Nobody has to close a lake: its connections go with it, or with the process.
        weakref.finalize(self, self.engine.dispose)

    def load_table(self, identifier: str | tuple[str, ...]) -> IcebergTable:
        """The table as it is now. Raises NoSuchTableError, and StateError when the warehouse is not where it was."""
        try:
            table = super().load_table(identifier)
        except FileNotFoundError as error:
            raise self._moved(identifier, f"nothing ({error})") from error
        if not is_under(table.metadata.location, self.warehouse):
            raise self._moved(identifier, table.metadata.location)
        return table

    def commit_table(
        self, table: IcebergTable, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        """Compare and swap. Raises CommitFailedException only when the updates are known not to be in the table."""
        try:
            return super().commit_table(table, requirements, updates)
        except NoSuchTableError:
            raise
        except Exception as refusal:
            landed = self._look(table, updates, refusal)
            if landed is not None:
                _log.info("commit landed in spite of its answer", table=".".join(table.name()), answer=str(refusal))
                return landed
            if isinstance(refusal, ValueError) and _STALE in str(refusal):
                # A commit on another branch took this sequence number: worth another attempt.
                raise CommitFailedException(str(refusal)) from refusal
            raise

    def has(self, identifier: tuple[str, ...]) -> bool:
        """Whether the catalog knows the table; its files are not looked at."""
        try:
            return identifier in self.list_tables(identifier[:-1])
        except NoSuchNamespaceError:
            return False

    def ensure_namespace(self, namespace: str) -> None:
        """Create a namespace unless it is there; another process may do the same at the same time."""
        try:
            if not self.namespace_exists(namespace):
                self.create_namespace(namespace)
        except (NamespaceAlreadyExistsError, IntegrityError):
            _log.debug("namespace made by another process", namespace=namespace)

    def _look(
        self, table: IcebergTable, updates: tuple[TableUpdate, ...], refusal: Exception
    ) -> CommitTableResponse | None:
        try:
            now = self.load_table(table.name())
        except NoSuchTableError:
            return None
        except Exception as error:  # noqa: BLE001  (whatever it is, we do not know now)
            # Not a CommitFailedException: after one PyIceberg deletes manifests, which may be live ones.
            raise CatalogError(
                f"it is not known whether a commit to {'.'.join(table.name())} landed",
                found=f"{type(refusal).__name__}, and then {type(error).__name__} when looking",
                remedy="Run again with the same run key once the catalog answers: what landed is recognised.",
            ) from refusal
        if not _contains(now.metadata, updates):
            return None
        return CommitTableResponse(metadata=now.metadata, metadata_location=now.metadata_location)

    def _moved(self, identifier: str | tuple[str, ...], found: str) -> StateError:
        name = identifier if isinstance(identifier, str) else ".".join(identifier)
        return StateError(
            f"table {name} is not in the warehouse that the settings name: the folder was moved or another one is set",
            expected=f"the table under {self.warehouse}",
            found=found,
            remedy="Move the folder back (Iceberg stores absolute paths), or start anew with `make clean`.",
        )


def open_catalog(settings: Settings) -> SafeCatalog:
    """The catalog of the settings. Raises CatalogError when it does not answer."""
    warehouse = from_uri(settings.warehouse)
    properties = {**_s3_properties(settings), "pool_pre_ping": "true"}
    uri = catalog_uri(settings)
    for attempt in (1, 2):
        try:
            return SafeCatalog(settings.catalog.name, warehouse=warehouse, uri=uri.get_secret_value(), **properties)
        except DBAPIError as error:
            # Two processes that open a new catalog at once both create its tables; the second finds them made.
            if attempt == 2:  # noqa: PLR2004  (the last of the two)
                raise _unreachable(error) from None
        except (SQLAlchemyError, ImportError) as error:
            raise _unreachable(error) from None
    raise AssertionError  # pragma: no cover  # the loop returns or raises


def _contains(metadata: TableMetadata, updates: tuple[TableUpdate, ...]) -> bool:
    """Whether a table holds what a commit brought: its snapshots, or for a commit of refs the history they name."""
    added = [update.snapshot.snapshot_id for update in updates if isinstance(update, AddSnapshotUpdate)]
    if added:
        return all(metadata.snapshot_by_id(snapshot_id) is not None for snapshot_id in added)
    refs = [update for update in updates if isinstance(update, SetSnapshotRefUpdate)]
    return bool(refs) and all(
        any(
            snapshot.snapshot_id == ref.snapshot_id
            for snapshot in ancestors_of(metadata.snapshot_by_name(ref.ref_name), metadata)
        )
        for ref in refs
    )


def _s3_properties(settings: Settings) -> dict[str, str]:
    if not is_s3(from_uri(settings.warehouse)):
        return {}
    given = settings.s3
    properties = {"s3.region": given.region}
    if given.endpoint is not None:
        properties["s3.endpoint"] = given.endpoint
    if given.access_key is not None and given.secret_key is not None:
        properties["s3.access-key-id"] = given.access_key.get_secret_value()
        properties["s3.secret-access-key"] = given.secret_key.get_secret_value()
    return properties


def _unreachable(error: Exception) -> CatalogError:
    return CatalogError(
        "the catalog does not answer",
        found=reason_of(error),
        remedy="Check LAKEHOUSE_CATALOG__URI and that the database runs (`lakehouse service status`).",
    )
