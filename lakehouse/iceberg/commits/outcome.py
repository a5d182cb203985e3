"""What a write did, told from the snapshot that it left.

Making the snapshot is `commit.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pyiceberg.table.snapshots import Snapshot

from lakehouse.iceberg.commits.progress import summary_of
from lakehouse.tables import TableName

PROOF = "lakehouse.proof"
"""Summary key: JSON of row counts. `read` from files written anew = `kept` + `removed`; `whole` files went unread.

A merge adds `hidden`, the rows that its delete files hide and that no other hid. A compaction adds `hash`, the decimal
sum of its rows' hashes: the same before and after.
"""

MERGE = "lakehouse.merge"
"""Summary key: JSON of what a merge counts beside rows. See `Merging.merge`."""


@dataclass(frozen=True)
class Commit:
    """What a write did. Counts are of the whole snapshot (for a publish: of all it brought to main); bytes on disk.

    `rows_rewritten` were in files that had to be written anew, and are in neither `rows_added` nor `rows_removed`.
    `retries`: how often other writers were faster. `already_done`: the run key had written before, nothing was written
    now and the counts are those of the earlier commit, or 0 where its snapshot is expired. `snapshot_id` is the head of
    the branch afterwards, None while the table has none.
    """

    table: TableName
    branch: str
    snapshot_id: int | None
    parent_id: int | None
    operation: str
    rows_added: int = 0
    rows_removed: int = 0
    rows_rewritten: int = 0
    files_added: int = 0
    files_removed: int = 0
    bytes_added: int = 0
    retries: int = 0
    already_done: bool = False


def describe(
    table: TableName, branch: str, snapshot: Snapshot, *, retries: int = 0, already_done: bool = False
) -> Commit:
    """A snapshot as the commit that made it."""
    summary = summary_of(snapshot)

    def count(key: str) -> int:
        return int(summary.get(key, 0))

    proof = json.loads(summary.get(PROOF, "{}"))
    kept = int(proof.get("kept", 0))
    removed = sum(int(proof.get(rows, 0)) for rows in ("removed", "whole", "hidden"))
    return Commit(
        table=table,
        branch=branch,
        snapshot_id=snapshot.snapshot_id,
        parent_id=snapshot.parent_snapshot_id,
        operation=snapshot.summary.operation.value if snapshot.summary else "unknown",
        rows_added=count("added-records") - kept,
        rows_removed=removed if proof else count("deleted-records"),
        rows_rewritten=kept,
        files_added=count("added-data-files"),
        files_removed=count("deleted-data-files"),
        bytes_added=count("added-files-size"),
        retries=retries,
        already_done=already_done,
    )


def nothing_new(table: TableName, branch: str, head: Snapshot | None, *, already_done: bool = False) -> Commit:
    """The commit that was not made, because there was nothing to say."""
    head_id = head.snapshot_id if head else None
    return Commit(table, branch, snapshot_id=head_id, parent_id=head_id, operation="none", already_done=already_done)


def merged(commits: Sequence[Commit], *, operation: str, snapshot_id: int, parent_id: int) -> Commit:
    """Several commits of one table (at least one) as one, which leads from the parent to the snapshot."""
    return replace(
        commits[0],
        operation=operation,
        snapshot_id=snapshot_id,
        parent_id=parent_id,
        rows_added=sum(commit.rows_added for commit in commits),
        rows_removed=sum(commit.rows_removed for commit in commits),
        rows_rewritten=sum(commit.rows_rewritten for commit in commits),
        files_added=sum(commit.files_added for commit in commits),
        files_removed=sum(commit.files_removed for commit in commits),
        bytes_added=sum(commit.bytes_added for commit in commits),
    )
