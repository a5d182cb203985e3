"""An expiry from its plan to its last file: the snapshots in one commit, then the files that nothing names any more.

The parts are modules of their own: `plan.py`, `remove.py`, `reachable.py`, `delete.py`, `unfinished.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata

from lakehouse.errors import CatalogError, CommitError, StateError
from lakehouse.iceberg.catalogs.safe import SafeCatalog
from lakehouse.iceberg.expiry.delete import Progress, delete_files
from lakehouse.iceberg.expiry.lost import bring_back
from lakehouse.iceberg.expiry.plan import ExpiryPlan, plan_expiry
from lakehouse.iceberg.expiry.reachable import Unreachable
from lakehouse.iceberg.expiry.remove import Removed, remove
from lakehouse.iceberg.expiry.unfinished import finish, metadata_of, unfinished
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.storage import Store
from lakehouse.tables import TableName

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Expiry:
    """What an expiry did.

    Delete files count as data files; manifests, their lists and statistics as metadata files. `bytes_deleted` as the
    metadata tells them: without manifest lists, and of a `resumed` expiry also of what the stopped one had deleted.
    `left` are files that should go and are still there: outside of the store, or refused by it. `resumed`: files of an
    earlier expiry, stopped before it was done, were among the work; `unfinished`: the next one will find such files.
    """

    table: TableName
    snapshots_removed: int = 0
    snapshots_kept: int = 0
    refs_removed: tuple[str, ...] = ()
    data_files_deleted: int = 0
    metadata_files_deleted: int = 0
    bytes_deleted: int = 0
    left: tuple[str, ...] = ()
    resumed: bool = False
    unfinished: bool = False


def expire(  # noqa: PLR0913  (what the caller decides on)
    table: IcebergTable,
    name: TableName,
    store: Store,
    *,
    now: datetime,
    held: Collection[int],
    audits_kept_for: timedelta,
    progress: Progress | None = None,
) -> Expiry:
    """Remove what the plan for the newest metadata says, and delete the files that only removed snapshots name.

    Raises CommitConflict, CatalogError, StateError; then nothing was removed. What fails once the snapshots are gone is
    told by the result.
    """

    def plan(metadata: TableMetadata) -> ExpiryPlan:
        return plan_expiry(metadata, name, now=now, held=held, audits_kept_for=audits_kept_for)

    removed = remove(table, name, plan)
    marks = unfinished(table.metadata)
    if not marks:
        return _told(table, name, removed)
    try:
        files = _files(table, name, removed, marks)
    except (CatalogError, CommitError, StateError) as error:
        _log.warning("files of removed snapshots wait for the next expiry", table=str(name), answer=str(error))
        return replace(_told(table, name, removed), unfinished=True)
    deleted = delete_files(store, files, progress)
    if not deleted.failed:
        finish(table, name, marks)
    return replace(
        _told(table, name, removed),
        data_files_deleted=deleted.data,
        metadata_files_deleted=deleted.metadata,
        bytes_deleted=deleted.bytes,
        left=(*deleted.failed, *deleted.outside),
        unfinished=bool(deleted.failed),
    )


def _told(table: IcebergTable, name: TableName, removed: Removed) -> Expiry:
    """What became of snapshots and refs."""
    there = {snapshot.snapshot_id for snapshot in table.metadata.snapshots}
    return Expiry(
        name,
        snapshots_removed=len(set(removed.plan.snapshots) - there),
        snapshots_kept=len(there),
        refs_removed=tuple(ref.name for ref in removed.plan.refs),
        resumed=removed.plan.unfinished,
    )


def _files(table: IcebergTable, name: TableName, removed: Removed, marks: Mapping[str, str]) -> Unreachable:
    """What this expiry's snapshots, and those of earlier ones that were stopped, named and nothing names any more."""
    with catalog_errors(f"looking for the files of removed snapshots of {name}"):
        earlier = {mark: metadata_of(table.io, file) for mark, file in marks.items() if mark != removed.mark}
        for mark, metadata in earlier.items():
            if metadata is None:
                _log.warning("files of a stopped expiry are left to the removal of orphans", table=str(name), mark=mark)
        states = {mark: metadata for mark, metadata in earlier.items() if metadata is not None}
        if removed.mark in marks:
            states[removed.mark] = removed.before
        before = [state for mark, state in states.items() if _is_safe(table, name, state, mark, marks[mark])]
        files = Unreachable(table.io, before, table.metadata)
        # Somebody may have committed a file anew while all that was read.
        table.refresh()
        files.spare(table.metadata)
    return files


def _is_safe(table: IcebergTable, name: TableName, before: TableMetadata, mark: str, location: str) -> bool:
    """Whether no ref was lost with the snapshots that were removed since, or what was lost is back."""
    if SafeCatalog.of(table).sees_new_refs or bring_back(table, name, before, mark, location):
        return True
    _log.warning("whether a tag was made meanwhile is not known: files are left to the removal of orphans", at=location)
    return False
