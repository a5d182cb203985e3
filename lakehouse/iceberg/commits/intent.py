"""What a commit promises beside its files, and whether a head still allows it.

Who asks, and when, is `commit.py` (at every attempt) and `table.py` (before any row is read).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Required, TypedDict

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from lakehouse.errors import CommitError, Fenced
from lakehouse.iceberg.commits.progress import MAIN, Progress, check_format, find_run, head_of, progress_at
from lakehouse.iceberg.commits.run_keys import seen
from lakehouse.tables import Position, TableName

_WRITABLE = 2
"""The newest Iceberg format version that is written."""


class Promise(TypedDict, total=False):
    """What every effect promises beside its rows.

    `run_key`: a run with the same key writes once. `branch`: main if not given. `progress`: positions by scope that
    come with the rows. `expected_progress`: positions that must not have moved, None for a scope without one.
    `summary`: further entries of the snapshot's summary. `issued_at`: when the key came into being, an aware time
    (default: now); whoever tries a run again gives the first time again, for what is older than the table's memory of
    its runs is refused.
    """

    run_key: Required[str]
    branch: str
    progress: Progress | None
    expected_progress: Mapping[str, Position | None] | None
    summary: Mapping[str, str] | None
    issued_at: datetime | None


@dataclass(frozen=True)
class Intent:
    """What a commit promises, apart from its files. `run_key` is None for the lake's own bookkeeping snapshots."""

    table: TableName
    run_key: str | None
    branch: str = MAIN
    progress: Progress = field(default_factory=dict)
    expected: Mapping[str, Position | None] = field(default_factory=dict)
    summary: Mapping[str, str] = field(default_factory=dict)
    issued_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def of(cls, table: TableName, promise: Promise) -> Intent:
        """The intent of an effect. Raises CommitError for a time of no zone."""
        issued_at = promise.get("issued_at") or datetime.now(UTC)
        if issued_at.tzinfo is None:
            raise CommitError(
                f"the run key of a write to {table} was issued at {issued_at}, in no time zone",
                expected="an aware time",
                remedy="Give the time with its zone, e.g. datetime.now(UTC).",
            )
        return cls(
            table,
            promise["run_key"],
            promise.get("branch", MAIN),
            promise.get("progress") or {},
            promise.get("expected_progress") or {},
            # It may be empty still: a load fills it while its rows are read.
            {} if (summary := promise.get("summary")) is None else summary,
            issued_at,
        )

    def check(self, metadata: TableMetadata) -> Snapshot | None:
        """The head to build on.

        Raises AlreadyDone when the run key is on the ref or in the memory of expired ones, RunKeyTooOld, BranchMissing,
        Fenced, StateError for a table of a later release, CommitError for one that cannot be written.
        """
        check_format(self.table, metadata)
        if metadata.format_version > _WRITABLE:
            raise CommitError(
                f"{self.table} is a table of Iceberg's format version {metadata.format_version}: it is only read",
                expected=f"version {_WRITABLE}",
                remedy="Write it with the program that upgraded it.",
            )
        head = head_of(metadata, self.branch)
        if self.run_key is not None:
            if (done := find_run(metadata, head, self.run_key)) is not None:
                raise AlreadyDone(done)
            if seen(metadata, head, self.run_key, self.issued_at):
                raise AlreadyDone(None)
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
    """The run key was there before: `snapshot` is what it made, None where that is expired."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        self.snapshot = snapshot
        super().__init__(snapshot and snapshot.snapshot_id)


class Overtaken(Exception):  # a signal between modules of this package, never seen outside of it
    """What a commit relies on was changed by another writer, and whoever made it makes it anew. `reason` says what."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
