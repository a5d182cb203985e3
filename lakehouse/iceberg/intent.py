"""What a commit promises beside its files, and whether a head still allows it.

Who asks, and when, is `commit.py` (at every attempt) and `table.py` (before any row is read).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from lakehouse.errors import Fenced
from lakehouse.iceberg.progress import MAIN, Progress, find_run, head_of, progress_at
from lakehouse.tables import Position, TableName


@dataclass(frozen=True)
class Intent:
    """What a commit promises, apart from its files. `run_key` is None for the lake's own bookkeeping snapshots."""

    table: TableName
    run_key: str | None
    branch: str = MAIN
    progress: Progress = field(default_factory=dict)
    expected: Mapping[str, Position | None] = field(default_factory=dict)
    summary: Mapping[str, str] = field(default_factory=dict)

    def check(self, metadata: TableMetadata) -> Snapshot | None:
        """The head to build on. Raises BranchMissing, Fenced, and AlreadyDone when the run key is on the ref."""
        head = head_of(metadata, self.branch)
        if self.run_key is not None and (done := find_run(metadata, head, self.run_key)) is not None:
            raise AlreadyDone(done)
        found = progress_at(metadata, head) if self.expected else {}
        for scope, position in self.expected.items():
            if found.get(scope) != position:
                raise Fenced(
                    f"another writer has moved {scope!r} of {self.table} on branch {self.branch!r}",
                    expected=str(position),
                    found=str(found.get(scope)),
                    remedy="Nothing was written. Run again: it will start from the new position.",
                )
        return head


class AlreadyDone(Exception):  # a signal between modules of this package, never seen outside of it
    """The run key is on the ref: `snapshot` is what it made."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        super().__init__(snapshot.snapshot_id)
