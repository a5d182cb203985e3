"""The effects: the only ways in which rows enter or leave a table, each one commit of the protocol.

Which files are written is `writer.py`, which are replaced `window.py`, what a commit promises `commit.py`. Merge takes
its place here, beside the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata

from lakehouse.iceberg.commit import commit_append, commit_overwrite
from lakehouse.iceberg.conform import Rows, conformed
from lakehouse.iceberg.evolve import RETIRED
from lakehouse.iceberg.intent import AlreadyDone, Intent
from lakehouse.iceberg.opened import Opened
from lakehouse.iceberg.outcome import Commit, describe, nothing_new
from lakehouse.iceberg.progress import MAIN, Progress, head_of, progress_at
from lakehouse.iceberg.schema import arrow_of
from lakehouse.iceberg.window import files_of_window, inside, live_files, window_column
from lakehouse.iceberg.writer import write_files
from lakehouse.tables import Position, TableName, Window


class Effects(Opened):
    """What a writer may do."""

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
