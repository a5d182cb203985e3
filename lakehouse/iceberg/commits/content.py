"""Whose rows a snapshot holds: its own, or those of an earlier one that only compactions and notes have followed.

A commit of ours that changes no row carries that on in its summary, for the snapshot that brought the rows may expire.
What a reader makes of it is `changes/`.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation, Snapshot

from lakehouse.iceberg.commits.progress import history, summary_of

CONTENT = "lakehouse.content"
"""The key in the summary of a snapshot that changes no row: the id of the newest one below it that changed some."""


def contents(metadata: TableMetadata, head: Snapshot | None) -> Mapping[int, int | None]:
    """The snapshots of a head's history, newest first, each with the one whose rows it holds: equal ids, equal rows.

    None where nobody can tell any more: a compaction of another program, and what was below it has expired.
    """
    found: dict[int, int | None] = {}
    rows_of: int | None = None
    for past in reversed(list(history(metadata, head))):
        told = summary_of(past).get(CONTENT)
        if told is not None:
            rows_of = int(told)
        elif not _keeps_rows(past):
            rows_of = past.snapshot_id
        found[past.snapshot_id] = rows_of
    return dict(reversed(found.items()))


def content_at(metadata: TableMetadata, head: Snapshot | None) -> int | None:
    """The snapshot whose rows a head holds; None without a head, and where nobody can tell any more."""
    for past in history(metadata, head):
        if (told := summary_of(past).get(CONTENT)) is not None:
            return int(told)
        if not _keeps_rows(past):
            return past.snapshot_id
    return None


def _keeps_rows(snapshot: Snapshot) -> bool:
    return snapshot.summary is not None and snapshot.summary.operation is Operation.REPLACE
