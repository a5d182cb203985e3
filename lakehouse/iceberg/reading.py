"""What a reader may ask of a table: rows, figures, history and schema.

How rows are read is `scan.py`; SQL over several tables is `duck.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import pyarrow as pa

from lakehouse.iceberg.commits.progress import MAIN, head_of, progress_at
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.iceberg.opened import Opened
from lakehouse.iceberg.reads.changed_days import ChangedDays, changed_days, live_days
from lakehouse.iceberg.reads.changes import Changes
from lakehouse.iceberg.reads.holdings import Holdings, holdings_of
from lakehouse.iceberg.reads.live_files import LiveFile, ManifestStats, live_files, manifest_stats
from lakehouse.iceberg.reads.relation import relation_sql
from lakehouse.iceberg.reads.scan import State, read_rows, state_at
from lakehouse.iceberg.reads.stats import (
    SnapshotInfo,
    TableStats,
    history_of,
    rows_added,
    snapshot_info,
    snapshots_of,
    stats_of,
)
from lakehouse.iceberg.refs.at import At
from lakehouse.iceberg.schemas.schema import arrow_of
from lakehouse.tables import Position


class Reading(Opened):
    """What a reader may do."""

    def snapshots(self, branch: str = MAIN) -> tuple[SnapshotInfo, ...]:
        """The history of a branch, newest first. Raises BranchMissing."""
        return snapshots_of(self._load().metadata, branch)

    def snapshot(self, at: At = MAIN) -> SnapshotInfo | None:
        """The snapshot that is meant; None for main of a table that was never written to.

        Raises BranchMissing, SnapshotMissing, QueryError.
        """
        state = self._state(at)
        return None if state.snapshot is None else snapshot_info(state.table.metadata, state.snapshot)

    def ancestors(self, at: At = MAIN) -> tuple[SnapshotInfo, ...]:
        """What is meant and all that it was built on, newest first. Raises as `snapshot`."""
        state = self._state(at)
        return history_of(state.table.metadata, state.snapshot)

    def positions(self, branch: str = MAIN) -> Mapping[str, Position]:
        """How far each scope has come on a branch: progress of all of them. Raises BranchMissing."""
        metadata = self._load().metadata
        return progress_at(metadata, head_of(metadata, branch))

    def progress(self, scope: str, branch: str = MAIN) -> Position | None:
        """How far one scope has come on a branch; None if it never moved. Raises BranchMissing."""
        return self.positions(branch).get(scope)

    def stats(self, branch: str = MAIN) -> TableStats:
        """Rows, files, bytes and snapshots of a branch. Raises BranchMissing."""
        table = self._load()
        return stats_of(table.metadata, table.io, branch)

    def rows_added(self, snapshot_id: int) -> int:
        """Rows of the data files that a snapshot added, counted from its manifests; rewritten rows count too.

        Raises SnapshotMissing, CatalogError.
        """
        table = self._load()
        with catalog_errors(f"looking at the manifests of {self.name}"):
            return rows_added(table.metadata, table.io, snapshot_id)

    def live_files(self, branch: str = MAIN) -> tuple[LiveFile, ...]:
        """Every live data file of a branch, from metadata alone. Raises BranchMissing."""
        table = self._load()
        with catalog_errors(f"looking at the files of {self.name}"):
            return live_files(table.metadata, table.io, branch)

    def manifests(self, branch: str = MAIN) -> ManifestStats:
        """How many manifests a branch has, and their bytes. Raises BranchMissing."""
        table = self._load()
        with catalog_errors(f"looking at the manifests of {self.name}"):
            return manifest_stats(table.metadata, table.io, branch)

    def holdings(self) -> Holdings:
        """The snapshots, branches, tags and leases of the table, and the size its files shall have."""
        return holdings_of(self._load().metadata)

    def scan(
        self,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        at: At = MAIN,
        limit: int | None = None,
    ) -> pa.RecordBatchReader:
        """The rows of a branch, tag, snapshot or time, in no order, as batches of which few are in memory.

        `where` is an Iceberg filter ("amount > 10 and status = 'paid'"): files that cannot hold such rows are not
        read. Raises BranchMissing, SnapshotMissing, QueryError; CatalogError also while the rows are read.
        """
        return read_rows(self._state(at), columns=columns, where=where, limit=limit)

    def changes(self, since: int, *, until: At = MAIN, key: Sequence[str] = ()) -> Changes:
        """The net effect of every snapshot after `since` (an id), up to and with `until`.

        `key` identifies a row, and pairs a delete and an insert of it into an update. Raises SnapshotMissing when
        `since` has expired or is not in the history of `until`, BranchMissing, QueryError.
        """
        return Changes(self._state(until), since, key)

    def changed_days(self, above: int, *, until: At = MAIN) -> ChangedDays:
        """The days of the window column that changed above a sequence number (see SnapshotInfo), from metadata alone.

        Also when the snapshot of that number has expired. Raises CommitError for a table without a window column,
        SnapshotMissing after a restore, BranchMissing, QueryError.
        """
        return changed_days(self._state(until), above)

    def days(self, at: At = MAIN) -> tuple[date, ...]:
        """The days of the window column that there are files of, in order, from metadata alone.

        Raises CommitError for a table without a window column, BranchMissing, SnapshotMissing, QueryError.
        """
        return live_days(self._state(at))

    def schema(self) -> pa.Schema:
        """The Arrow schema: strings as `string`, timestamptz as UTC microseconds, required columns non-null."""
        return arrow_of(self._load().schema(), field_ids=False)

    def column_types(self) -> Mapping[str, str]:
        """Iceberg type by column, in the table's order."""
        return {field.name: str(field.field_type) for field in self._load().schema().fields}

    def relation_sql(self, at: At = MAIN) -> str:
        """A DuckDB relation, pinned to the snapshot of now; without one, an empty relation of the right types.

        For a FROM clause of a connection made by `duck.connect`. Raises BranchMissing, SnapshotMissing, QueryError.
        """
        return relation_sql(self._state(at))

    def _state(self, at: At) -> State:
        return state_at(self.name, self._load(), at)
