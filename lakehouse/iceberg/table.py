"""One Iceberg table: what the rest of the project may do with it.

The door of this package together with `lake.py`; the work is done in the modules beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata

from lakehouse.iceberg import branch as refs
from lakehouse.iceberg.commit import commit_append, commit_overwrite
from lakehouse.iceberg.conform import Rows, conformed
from lakehouse.iceberg.evolve import RETIRED
from lakehouse.iceberg.intent import AlreadyDone, Intent
from lakehouse.iceberg.outcome import Commit, describe, nothing_new
from lakehouse.iceberg.progress import MAIN, Progress, head_of, progress_at
from lakehouse.iceberg.scan import read_rows, relation_sql
from lakehouse.iceberg.schema import arrow_of
from lakehouse.iceberg.stats import SnapshotInfo, TableStats, snapshots_of, stats_of
from lakehouse.iceberg.window import files_of_window, inside, live_files, window_column
from lakehouse.iceberg.writer import write_files
from lakehouse.tables import Position, TableName, Window


class LakeTable:
    """A table of the lake. Every method that reads looks the table up anew: other processes write to it too."""

    def __init__(self, name: TableName, load: Callable[[], IcebergTable]) -> None:
        self.name = name
        self._load = load

    def append(  # noqa: PLR0913  (each is one promise of the protocol)
        self,
        rows: Rows,
        *,
        run_key: str,
        branch: str = MAIN,
        progress: Progress | None = None,
        expected_progress: Mapping[str, Position | None] | None = None,
        summary: Mapping[str, str] | None = None,
    ) -> Commit:
        """Add rows in one snapshot. No rows and no progress: no commit, operation "none".

        Raises SchemaMismatch, Fenced, BranchMissing, CommitConflict, StateError, CatalogError.
        """
        intent = Intent(self.name, run_key, branch, progress or {}, expected_progress or {}, summary or {})
        return self._write(rows, intent)

    def overwrite(  # noqa: PLR0913  (each is one promise of the protocol)
        self,
        rows: Rows,
        *,
        window: Window | None,
        run_key: str,
        branch: str = MAIN,
        progress: Progress | None = None,
        expected_progress: Mapping[str, Position | None] | None = None,
        summary: Mapping[str, str] | None = None,
    ) -> Commit:
        """Replace the rows of a window of days (None: of the whole table) by these, in one snapshot.

        Raises CommitError for rows outside the window and for files that straddle it, and as `append` does;
        CommitConflict also when another writer changed the window meanwhile.
        """
        intent = Intent(self.name, run_key, branch, progress or {}, expected_progress or {}, summary or {})
        return self._write(rows, intent, _Replaced(self.name, branch, window))

    def progress(self, scope: str, branch: str = MAIN) -> Position | None:
        """How far the scope has come on a branch. Raises BranchMissing."""
        metadata = self._load().metadata
        return progress_at(metadata, head_of(metadata, branch)).get(scope)

    def create_branch(self, branch: str) -> None:
        """Make a branch at main's head; one that is there stays as it is. Raises CommitConflict, BranchMissing."""
        refs.create_branch(self._load(), self.name, branch)

    def publish(self, branch: str) -> Commit:
        """Bring a branch to main and drop it. Raises PublishConflict (the branch is kept), BranchMissing."""
        return refs.publish(self._load(), self.name, branch)

    def discard(self, branch: str) -> None:
        """Drop a branch; nothing happens if it is not there. Raises CommitConflict."""
        refs.discard(self._load(), self.name, branch)

    def branches(self) -> tuple[str, ...]:
        """The branches beside main, by name."""
        return refs.branches(self._load().metadata)

    def snapshots(self, branch: str = MAIN) -> tuple[SnapshotInfo, ...]:
        """The history of a branch, newest first. Raises BranchMissing."""
        return snapshots_of(self._load().metadata, branch)

    def stats(self, branch: str = MAIN) -> TableStats:
        """Rows, files, bytes and snapshots of a branch. Raises BranchMissing."""
        table = self._load()
        return stats_of(table.metadata, table.io, branch)

    def scan(
        self,
        *,
        columns: Sequence[str] | None = None,
        branch: str = MAIN,
        snapshot_id: int | None = None,
        limit: int | None = None,
    ) -> pa.RecordBatchReader:
        """The rows of a branch or snapshot, in no order. Raises BranchMissing, QueryError."""
        return read_rows(self._load(), branch, snapshot_id, columns=columns, limit=limit)

    def schema(self) -> pa.Schema:
        """The Arrow schema: strings as `string`, timestamptz as UTC microseconds, required columns non-null."""
        return arrow_of(self._load().schema(), field_ids=False)

    def column_types(self) -> Mapping[str, str]:
        """Iceberg type by column, in the table's order."""
        return {field.name: str(field.field_type) for field in self._load().schema().fields}

    def relation_sql(self, branch: str = MAIN, snapshot_id: int | None = None) -> str:
        """A DuckDB relation, pinned to the snapshot of now; without one, an empty relation of the right types.

        For a FROM clause of a connection made by `duck.connect`. Raises BranchMissing, QueryError.
        """
        return relation_sql(self._load(), branch, snapshot_id)

    def _write(self, rows: Rows, intent: Intent, replaced: _Replaced | None = None) -> Commit:
        table = self._load()
        try:
            # Asked before the rows are read, and again at every attempt to commit.
            head = intent.check(table.metadata)
        except AlreadyDone as done:
            return describe(self.name, intent.branch, done.snapshot, already_done=True)
        removes = replaced is not None and bool(replaced.files(table, table.metadata))
        batches = conformed(
            rows, arrow_of(table.schema(), field_ids=True), may_lack=json.loads(table.properties.get(RETIRED, "[]"))
        )
        if replaced is not None and replaced.window is not None:
            batches = inside(batches, self.name, window_column(self.name, table.metadata), replaced.window)
        added = write_files(table, batches)
        if not added and not removes and not intent.progress:
            return nothing_new(self.name, intent.branch, head)
        if replaced is None:
            return commit_append(table, intent, added)
        return commit_overwrite(table, intent, added, lambda metadata: replaced.files(table, metadata))


class _Replaced:
    """Which files an overwrite replaces, as of some metadata."""

    def __init__(self, name: TableName, branch: str, window: Window | None) -> None:
        self.name = name
        self.branch = branch
        self.window = window

    def files(self, table: IcebergTable, metadata: TableMetadata) -> frozenset[DataFile]:
        """Every file of the branch, or those of the window. Raises CommitError when one straddles it."""
        if self.window is None:
            return live_files(metadata, table.io, self.branch)
        return files_of_window(self.name, metadata, table.io, self.branch, self.window)
