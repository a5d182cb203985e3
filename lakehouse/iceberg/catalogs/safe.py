"""A commit whose answer is only believed after a look: what every catalog of the lake does alike.

How a catalog swaps metadata is `sql_catalog.py` and `rest_catalog.py`; which one is opened is `catalog.py`. What is in
a commit is `commit.py`; what drivers and disks raise is turned into our errors by `failures.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import structlog
from pyiceberg.catalog import Catalog
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
from pyiceberg.table.update import (
    AddSnapshotUpdate,
    RemoveSnapshotRefUpdate,
    RemoveSnapshotsUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableRequirement,
    TableUpdate,
)
from sqlalchemy.exc import IntegrityError

from lakehouse.errors import CatalogError
from lakehouse.iceberg.catalogs.views import Views

_log = structlog.get_logger(__name__)

_STALE = "older than last sequence number"


class SafeCatalog(Catalog, ABC):
    """A catalog that never believes a refusal, or a failure, before it has looked for what it tried to commit."""

    @staticmethod
    def of(table: IcebergTable) -> SafeCatalog:
        """The catalog that a table of the lake was opened by. Raises TypeError for a table of another catalog."""
        if not isinstance(table.catalog, SafeCatalog):
            raise TypeError(f"{'.'.join(table.name())} was not opened by a catalog of the lake")
        return table.catalog

    @property
    @abstractmethod
    def views(self) -> Views:
        """Where the view models are kept."""

    @abstractmethod
    def swap(
        self, table: IcebergTable, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        """The catalog's own compare and swap; may raise anything, and may have landed when it does."""

    @abstractmethod
    def as_planned(self, metadata: TableMetadata) -> tuple[TableRequirement, ...]:
        """What makes a swap fail when a branch or tag came, went or moved since this metadata, as far as it can say.

        Snapshots are removed under it: a swap that lands takes the refs of removed snapshots away without a word.
        """

    @property
    @abstractmethod
    def sees_new_refs(self) -> bool:
        """Whether `as_planned` notices refs that were not there before, too."""

    @abstractmethod
    def metadata_files(self) -> Mapping[tuple[str, ...], str | None]:
        """The newest metadata file of every table in every namespace; None where only `load_table` tells."""

    def commit_table(
        self, table: IcebergTable, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        """Compare and swap. Raises CommitFailedException only when the updates are known not to be in the table."""
        try:
            return self.swap(table, requirements, updates)
        except NoSuchTableError:
            raise
        except Exception as refusal:
            landed = self._look(table, updates, refusal)
            if landed is not None:
                _log.info("commit landed in spite of its answer", table=".".join(table.name()), answer=str(refusal))
                return landed
            if _STALE in str(refusal):
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
        if not _landed(table.metadata, now.metadata, updates):
            return None
        return CommitTableResponse(metadata=now.metadata, metadata_location=now.metadata_location)


def _landed(before: TableMetadata, now: TableMetadata, updates: tuple[TableUpdate, ...]) -> bool:
    """Whether a table holds what a commit brought: its snapshots, or for a commit of refs what it did to each.

    Snapshots that a commit removed may have been removed by another: it is ours if what it said with it is there.
    """
    removed = {one for update in updates if isinstance(update, RemoveSnapshotsUpdate) for one in update.snapshot_ids}
    if removed:
        said = [update.updates for update in updates if isinstance(update, SetPropertiesUpdate)]
        gone = removed.isdisjoint(snapshot.snapshot_id for snapshot in now.snapshots)
        return gone and all(properties.items() <= now.properties.items() for properties in said)
    added = [update.snapshot.snapshot_id for update in updates if isinstance(update, AddSnapshotUpdate)]
    if added:
        return all(now.snapshot_by_id(snapshot_id) is not None for snapshot_id in added)
    refs = [update for update in updates if isinstance(update, SetSnapshotRefUpdate | RemoveSnapshotRefUpdate)]
    return bool(refs) and all(_moved(before, now, ref) for ref in refs)


def _moved(before: TableMetadata, now: TableMetadata, ref: SetSnapshotRefUpdate | RemoveSnapshotRefUpdate) -> bool:
    """Whether a ref is where it was to go, or has been there since and gone on."""
    if isinstance(ref, RemoveSnapshotRefUpdate):
        return ref.ref_name not in now.refs
    head = now.refs.get(ref.ref_name)
    if head is None:
        return False
    # A ref that is set back has its target in its history already: that alone tells nothing.
    return head.snapshot_id == ref.snapshot_id or (
        _on(now, ref.ref_name, ref.snapshot_id) and not _on(before, ref.ref_name, ref.snapshot_id)
    )


def _on(metadata: TableMetadata, ref: str, snapshot_id: int) -> bool:
    history = ancestors_of(metadata.snapshot_by_name(ref), metadata)
    return any(snapshot.snapshot_id == snapshot_id for snapshot in history)
