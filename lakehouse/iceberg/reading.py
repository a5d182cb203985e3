"""What a reader may ask of a table: rows, figures, history and schema.

How rows are read is `scan.py`; SQL over several tables is `duck.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from lakehouse.iceberg.opened import Opened
from lakehouse.iceberg.progress import MAIN
from lakehouse.iceberg.scan import read_rows, relation_sql
from lakehouse.iceberg.schema import arrow_of
from lakehouse.iceberg.stats import SnapshotInfo, TableStats, snapshots_of, stats_of


class Reading(Opened):
    """What a reader may do."""

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
