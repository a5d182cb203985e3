"""Publish: main moves to the head of an audited branch, or not at all.

One compare-and-swap of main, which is refused when the branch is not the one that was audited. Single windows of a
branch are `publish_windows.py`; what is put on top of a main that moved, `rebase.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import SetPropertiesUpdate, TableUpdate

from lakehouse.errors import CommitConflict
from lakehouse.iceberg.commits.outcome import Commit, describe, merged, nothing_new
from lakehouse.iceberg.commits.progress import MAIN, floor_properties, progress_at
from lakehouse.iceberg.commits.sidecar import TOMBSTONES, sidecar_at
from lakehouse.iceberg.refs.branch import discard, refuse_main
from lakehouse.iceberg.refs.rebase import conflict, rebase
from lakehouse.iceberg.refs.staged import Staged, staged
from lakehouse.iceberg.refs.swap import Swap, branch_at, stands_at, swap
from lakehouse.tables import TableName

_log = structlog.get_logger(__name__)

ROUNDS = 3
"""How often a branch is put on top of a main that moved, before the work is left to be run again."""

Audit = Callable[[], None]
"""Reads the branch and raises when it may not be published."""


def publish(
    table: IcebergTable, name: TableName, branch: str, audit: Audit | None = None, judged: int | None = None
) -> Commit:
    """Move main to the branch's head, and the floor of progress with it; drop the branch.

    The snapshot `judged`, by default the branch's head as it is now, is taken for audited. If main moved since, appends
    are re-based and `audit` is called again, at most three times; it is spared where main moved by proved rewrites
    alone. The commit counts everything that came to main. A branch that main already holds is dropped, `already_done`.
    Raises PublishConflict (the branch is kept) also for other work and without an audit, what the audit raises,
    BranchMissing, CommitConflict, CatalogError.
    """
    refuse_main(branch)
    table.refresh()
    audited = judged or staged(table.metadata, name, branch).head.snapshot_id
    for left in reversed(range(ROUNDS + 1)):
        done = _forward(table, name, branch, audited)
        if done is not None:
            _drop(table, name, branch, audited)
            return done
        beside = staged(table.metadata, name, branch)
        spared = beside.same_rows
        if left == 0 or (audit is None and not spared):
            break
        # Main may have moved once more, by rows that no proof speaks of. Without an audit nothing may be put on top of
        # those, for the next to publish takes the branch for audited.
        rebased = rebase(table, name, branch, audited=audited, onto=beside.main.snapshot_id if audit is None else None)
        if audit is not None and not (spared and rebased.parent_id == beside.main.snapshot_id):
            audit()
        audited = rebased.snapshot_id or audited
    raise conflict(
        name,
        branch,
        expected=f"main at {beside.fork.snapshot_id if beside.fork else 'the snapshot that the branch was made at'}",
        found=f"main at {beside.main.snapshot_id}" + (", taken back by a restore" if beside.taken_back else ""),
    )


def _forward(table: IcebergTable, name: TableName, branch: str, audited: int) -> Commit | None:
    """Move main to the audited snapshot. None when main is not where the branch begins. Raises PublishConflict."""
    done: list[Commit | None] = [None]

    def plan(metadata: TableMetadata) -> Swap | None:
        done[0] = None
        beside = staged(metadata, name, branch)
        if beside.is_on_main:
            done[0] = nothing_new(name, MAIN, beside.main, already_done=True)
            return None
        if beside.head.snapshot_id != audited:
            raise conflict(
                name, branch, expected=f"its head at {audited}", found=f"{beside.head.snapshot_id}, unaudited"
            )
        if not beside.is_next:
            return None
        done[0] = _publication(name, beside)
        floor = floor_properties(progress_at(metadata, beside.head))
        if (tombstones := sidecar_at(metadata, beside.head)) is not None:
            floor[TOMBSTONES] = tombstones
        updates: list[TableUpdate] = [branch_at(MAIN, audited)]
        if floor:
            updates.append(SetPropertiesUpdate(updates=floor))
        # The branch is asserted too: one that was discarded in this moment leaves no trace.
        return (stands_at(MAIN, beside.main.snapshot_id), stands_at(branch, audited)), tuple(updates)

    swap(table, name, plan)
    return done[0]


def _publication(name: TableName, beside: Staged) -> Commit:
    commits = [describe(name, MAIN, past) for past in beside.ahead]
    return merged(commits, operation="publish", snapshot_id=beside.head.snapshot_id, parent_id=beside.main.snapshot_id)


def _drop(table: IcebergTable, name: TableName, branch: str, published: int) -> None:
    """Drop the branch, unless somebody has written to it since: that is work of its own."""
    try:
        discard(table, name, branch, only_at=published)
    except CommitConflict:
        # The rows are on main, which is what was asked for; the next publish or upkeep drops the ref.
        _log.warning("published branch left behind", table=str(name), branch=branch)
