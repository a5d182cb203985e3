"""The commit of an expiry: all snapshots and refs at once, with the memory of their run keys, or nothing.

A ref that came or moved since the plan makes it plan anew. Where a catalog cannot promise that, it is looked up right
after, and a ref that was lost gets its snapshot back before any file is deleted. Files are `expire.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import (
    RemovePartitionStatisticsUpdate,
    RemoveSnapshotRefUpdate,
    RemoveSnapshotsUpdate,
    SetPropertiesUpdate,
    TableUpdate,
)

from lakehouse.iceberg.catalogs.safe import SafeCatalog
from lakehouse.iceberg.commits.run_keys import remember
from lakehouse.iceberg.expiry.plan import ExpiryPlan
from lakehouse.iceberg.expiry.unfinished import new_mark
from lakehouse.iceberg.refs.swap import Swap, swap
from lakehouse.tables import TableName

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Removed:
    """What a commit removed: `before` is the metadata that it was planned on."""

    plan: ExpiryPlan
    before: TableMetadata
    mark: str


def remove(table: IcebergTable, name: TableName, make_plan: Callable[[TableMetadata], ExpiryPlan]) -> Removed:
    """Carry out the plan for the newest metadata in one commit; the table is refreshed afterwards.

    Raises CommitConflict when other writers are faster all the time, CatalogError.
    """
    mark = new_mark()
    made: list[Removed] = []

    def plan(metadata: TableMetadata) -> Swap | None:
        made[:] = [Removed(make_plan(metadata), metadata, mark)]
        updates = _updates(metadata, made[0].plan, {mark: table.metadata_location})
        return (SafeCatalog.of(table).as_planned(metadata), updates) if updates else None

    swap(table, name, plan)
    return made[0]


def _updates(metadata: TableMetadata, plan: ExpiryPlan, mark: dict[str, str]) -> tuple[TableUpdate, ...]:
    updates: list[TableUpdate] = [RemoveSnapshotRefUpdate(ref_name=ref.name) for ref in plan.refs]
    if plan.snapshots:
        gone = frozenset(plan.snapshots)
        kept_in_mind = remember(metadata, gone, now=plan.planned_at)
        updates.append(SetPropertiesUpdate(updates={**kept_in_mind, **mark}))
        # PyIceberg forgets the other statistics of a removed snapshot, but not these.
        updates += [
            RemovePartitionStatisticsUpdate(snapshot_id=file.snapshot_id)
            for file in metadata.partition_statistics
            if file.snapshot_id in gone
        ]
        updates.append(RemoveSnapshotsUpdate(snapshot_ids=list(plan.snapshots)))
    return tuple(updates)
