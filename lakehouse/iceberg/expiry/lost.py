"""Refs that a catalog took away with a removed snapshot, because they were made in the moment of its removal.

Only where the catalog cannot be asked to watch for them (`SafeCatalog.sees_new_refs`): there it is looked up after the
removal, and the snapshot is put back before any file is deleted.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRef
from pyiceberg.table.update import AddSnapshotUpdate, SetSnapshotRefUpdate, TableRequirement, TableUpdate

from lakehouse.iceberg.commits.commit import commit_append
from lakehouse.iceberg.commits.intent import Intent
from lakehouse.iceberg.expiry.unfinished import metadata_of
from lakehouse.iceberg.refs.swap import stands_at
from lakehouse.tables import TableName

_log = structlog.get_logger(__name__)


def bring_back(table: IcebergTable, name: TableName, before: TableMetadata, mark: str, location: str) -> bool:
    """Put back what one removal lost: `mark` is its mark, `before` the metadata at `location` that it was planned on.

    False when that cannot be told any more: then no file may be deleted. Raises CommitConflict, CatalogError.
    """
    moment = _moment_of(table, mark, before, location)
    if moment is None:
        return False
    base, after = moment
    removed = {snapshot.snapshot_id for snapshot in base.snapshots}
    removed -= {snapshot.snapshot_id for snapshot in after.snapshots}
    # What the plan itself let go stood there before.
    lost = {
        ref: of
        for ref, of in base.refs.items()
        if of.snapshot_id in removed and ref not in table.metadata.refs and before.refs.get(ref) != of
    }
    if lost:
        _put_back(table, name, base, lost)
        _log.warning("refs made while their snapshots expired are back", table=str(name), refs=sorted(lost))
    return True


def _moment_of(
    table: IcebergTable, mark: str, before: TableMetadata, location: str
) -> tuple[TableMetadata, TableMetadata] | None:
    """The metadata right before and right after a removal, which is the commit that set its mark.

    Later removals have let refs go of their own accord: what they took away is not this one's loss.
    """
    after = table.metadata
    # Each metadata names the one before it, so that the log of the newest may be shorter than the way back.
    while mark in after.properties and after.metadata_log:
        earlier = after.metadata_log[-1].metadata_file
        # As a rule nobody came between, and nothing is read.
        metadata = before if earlier == location else metadata_of(table.io, earlier)
        if metadata is None:
            return None
        if mark not in metadata.properties:
            return metadata, after
        after = metadata
    return None


def _put_back(table: IcebergTable, name: TableName, base: TableMetadata, lost: Mapping[str, SnapshotRef]) -> None:
    """The snapshots, without a parent as Iceberg asks of old ones, and their refs; together with an empty snapshot.

    Both PyIceberg and Iceberg's Java library take the sequence number of the last added snapshot for the table's: that
    has to be a new one, or later commits would be given numbers a second time.
    """
    ids = {ref.snapshot_id for ref in lost.values()}
    updates: list[TableUpdate] = [
        AddSnapshotUpdate(snapshot=snapshot.model_copy(update={"parent_snapshot_id": None}))
        for snapshot in base.snapshots
        if snapshot.snapshot_id in ids
    ]
    updates += [
        SetSnapshotRefUpdate.model_validate({"ref-name": ref, **of.model_dump(by_alias=True, exclude_none=True)})
        for ref, of in lost.items()
    ]
    absent: tuple[TableRequirement, ...] = tuple(stands_at(ref, None) for ref in lost)
    commit_append(table, Intent(name, run_key=None), (), beside=(absent, tuple(updates)))
    table.refresh()
