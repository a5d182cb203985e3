"""The compare-and-swap of refs: plan for the newest metadata, swap, plan again when somebody was faster.

Which refs move where is `branch.py`, `publish.py`, `rebase.py`, `tag.py` and `restore.py`. Snapshots are added by
`commit.py`, never together with a ref: PyIceberg's retry drops refs that are staged beside a snapshot.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import structlog
from pyiceberg.exceptions import BadRequestError, CommitFailedException
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.update import AssertRefSnapshotId, SetSnapshotRefUpdate, TableRequirement, TableUpdate

from lakehouse.errors import CommitConflict
from lakehouse.iceberg.commits.retry import Backoff
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.tables import TableName

_log = structlog.get_logger(__name__)

Swap = tuple[tuple[TableRequirement, ...], tuple[TableUpdate, ...]]
"""What must be so, and what is changed then."""
Plan = Callable[[TableMetadata], Swap | None]
"""What to swap as of some metadata; None when there is nothing (any more) to do. It may raise to refuse."""


def swap(table: IcebergTable, name: TableName, plan: Plan) -> None:
    """Carry out the plan for the newest metadata; plan again when another commit came between.

    The table is refreshed afterwards. Raises CommitConflict when the time is up, CatalogError, and what the plan
    raises.
    """
    for pause in Backoff.of(table.metadata.properties).pauses():
        with catalog_errors(f"moving a ref of {name}"):
            table.refresh()
            planned = plan(table.metadata)
            if planned is None:
                return
            try:
                table.catalog.commit_table(table, *planned)
            except CommitFailedException as error:
                _log.debug("ref moved by another writer", table=str(name), answer=str(error))
            except (ValueError, BadRequestError) as error:
                # An expiry took the snapshot that a ref should name: the next plan says so in our words. PyIceberg and
                # Iceberg's REST server refuse it in the same words.
                if "unknown snapshot" not in str(error):
                    raise
            else:
                table.refresh()
                return
        time.sleep(pause)
    raise CommitConflict(f"other writers of {name} were faster at every attempt", remedy="Run again.")


def branch_at(branch: str, snapshot_id: int) -> SetSnapshotRefUpdate:
    """A branch pointing at a snapshot, without limits of age: upkeep decides on those."""
    return _ref(branch, snapshot_id, SnapshotRefType.BRANCH, None)


def tag_at(tag: str, snapshot_id: int, *, max_age: timedelta | None) -> SetSnapshotRefUpdate:
    """A tag pointing at a snapshot; `max_age` from the snapshot's own time on (Iceberg spec, "max-ref-age-ms")."""
    return _ref(tag, snapshot_id, SnapshotRefType.TAG, max_age)


def stands_at(ref: str, snapshot_id: int | None) -> AssertRefSnapshotId:
    """The requirement that a ref points at a snapshot; None: that there is no such ref.

    Several may be given to `swap`, which hands them to the catalog as they are; PyIceberg's own transactions keep only
    one requirement of a type.
    """
    return AssertRefSnapshotId(ref=ref, snapshot_id=snapshot_id)


def _ref(name: str, snapshot_id: int, kind: SnapshotRefType, max_age: timedelta | None) -> SetSnapshotRefUpdate:
    values: dict[str, object] = {"ref-name": name, "type": kind.value, "snapshot-id": snapshot_id}
    if max_age is not None:
        values["max-ref-age-ms"] = max_age // timedelta(milliseconds=1)
    return SetSnapshotRefUpdate.model_validate(values)
