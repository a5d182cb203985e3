"""Compaction of a table: groups of its files become one file each, holding the very same rows.

Which files belong together is decided by the caller (`upkeep/`); how it is done, in `compaction/`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import duckdb

from lakehouse.iceberg.commits.intent import Intent
from lakehouse.iceberg.compaction.outcome import Compaction
from lakehouse.iceberg.compaction.run import BATCH_BYTES, Progress, Run, SoFar, prepared
from lakehouse.iceberg.opened import Opened


class Compacting(Opened):
    """What upkeep may do with the files of main."""

    def compact(  # noqa: PLR0913  (all but the groups are named)
        self,
        groups: Sequence[Collection[str]],
        *,
        connection: duckdb.DuckDBPyConnection,
        summary: Mapping[str, str] | None = None,
        batch_bytes: int = BATCH_BYTES,
        progress: Progress | None = None,
        so_far: SoFar | None = None,
    ) -> Compaction:
        """Put the live rows of each group of files (paths as manifests spell them) into one new file.

        The new files are as old as the newest of the files and of the deletes on them, so readers of changes find
        nothing new, and rows that other writers delete meanwhile stay deleted: such a group is `overtaken`. Each group
        is proved before it is committed: count and summed hash of its rows, read back from storage, are those of its
        old files. Committed are batches of `batch_bytes` of old files (or 50 groups), each one snapshot of operation
        "replace" with the proof and `summary` in its summary. `connection` is one of `connect(settings)`; its memory
        limit bounds what DuckDB takes. `progress` is told each step. Files under equality deletes are `refused`.

        Raises CommitError when a proof fails (the new files are removed), CatalogError when the storage or the catalog
        fails, StateError; groups that were committed before stay so: `so_far` is told of them after each commit.
        """
        intent = Intent(self.name, None, summary=summary or {})
        with prepared(connection) as cursor:
            return Run(self._load, self.name, cursor, intent, progress=progress, so_far=so_far).all(groups, batch_bytes)
