"""The effects: the ways in which rows enter or leave a table, each one commit of the protocol. By key: `merging.py`.

Which rows are meant is `where.py`, which files hold them `plan.py`, how files are made `writer.py` and `rewrite.py`,
what a commit promises `intent.py` and `commit.py`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from typing import Unpack

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.snapshots import Operation

from lakehouse.errors import CommitConflict, CommitError
from lakehouse.iceberg.commits.commit import already_done, commit_append, commit_change
from lakehouse.iceberg.commits.intent import AlreadyDone, Intent, Promise
from lakehouse.iceberg.commits.outcome import Commit, nothing_new
from lakehouse.iceberg.commits.produce import Change
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.iceberg.opened import Opened
from lakehouse.iceberg.parquet.conform import Rows, conformed
from lakehouse.iceberg.parquet.writer import write_files
from lakehouse.iceberg.schemas.evolve import RETIRED
from lakehouse.iceberg.schemas.schema import arrow_of
from lakehouse.iceberg.selection.plan import ManifestsRead, Paths, plan
from lakehouse.iceberg.selection.rewrite import live_rows, survivors
from lakehouse.iceberg.selection.where import Selection, Where
from lakehouse.tables import Window


class Effects(Opened):
    """What a writer may do. Every effect takes what `Promise` says, and does nothing when its run key has written.

    All of them raise RunKeyTooOld, Fenced, BranchMissing, CommitConflict, CommitError, StateError, CatalogError.
    """

    def append(self, rows: Rows, **promise: Unpack[Promise]) -> Commit:
        """Add rows in one snapshot. No rows and no progress: no commit, operation "none".

        Raises SchemaMismatch besides.
        """
        table, intent = self._load(), Intent.of(self.name, promise)
        try:
            # Asked before the rows are read, and again at every attempt to commit.
            head = intent.check(table.metadata)
        except AlreadyDone as done:
            return already_done(intent, table.metadata, done)
        added = write_files(table, _conformed(table, rows))
        if not added and not intent.progress:
            return nothing_new(self.name, intent.branch, head)
        return commit_append(table, intent, added)

    def overwrite(self, rows: Rows, *, where: Where, **promise: Unpack[Promise]) -> Commit:
        """Replace the rows that `where` means (None: all of them) by these, in one snapshot.

        Files that hold only such rows are dropped unread, others are written anew without them, and it is proved by
        count that no other row is touched. Raises SchemaMismatch, QueryError for a wrong filter, CommitError for a row
        that `where` does not mean, and CommitConflict also when another writer changed a file that may hold such rows.
        """
        return self._change(rows, where, Intent.of(self.name, promise))

    def delete(self, where: Window | str, **promise: Unpack[Promise]) -> Commit:
        """Remove the rows that `where` means, as `overwrite` by nothing; none of them: no commit, operation "none".

        The operation is "delete" when no file had to be written anew. Raises QueryError for a wrong filter.
        """
        return self._change(None, where, Intent.of(self.name, promise))

    def replace_files(self, files: Collection[str], rows: Rows, **promise: Unpack[Promise]) -> Commit:
        """Put the same rows into other files: operation "replace", which readers of changes may skip.

        `files` are the paths of live data files, `rows` their live rows. The new files are as old as the newest of
        these and of the deletes in them, so that what is deleted later applies to them and what was deleted earlier
        does not, and so that whoever asks for changes since finds no more and no less. Delete files that
        are about these files alone go with them. Raises SchemaMismatch, CommitError when the number of rows is not the
        same, and CommitConflict when a file is not there (any more) or another writer deletes rows of it.
        """
        table, intent = self._load(), Intent.of(self.name, promise)
        try:
            head = intent.check(table.metadata)
        except AlreadyDone as done:
            return already_done(intent, table.metadata, done)
        paths, read = Paths(files), ManifestsRead()
        with catalog_errors(f"planning a write to {self.name}"):
            found = plan(table.metadata, table.io, intent.branch, paths, read)
        if missing := set(files) - set(found.content):
            raise CommitConflict(
                f"{len(missing)} of {len(set(files))} files are not on branch {intent.branch!r} of {self.name}",
                found=f"no {min(missing)}",
                remedy="Nothing was written. Plan again from the table as it is now.",
            )
        if not files:
            return nothing_new(self.name, intent.branch, head)
        live = sum(live_rows(table, self.name, of) for of in found.touched)
        added = write_files(table, self._exactly(live, _conformed(table, rows)))
        youngest = max(of.sequence for of in found.touched)
        change = Change(
            Operation.REPLACE,
            found,
            lambda metadata: plan(metadata, table.io, intent.branch, paths, read),
            frozenset(found.content),
            {"read": live, "kept": _rows_of(added), "removed": 0, "whole": 0},
            {file.file_path: youngest for file in added},
        )
        return commit_change(table, intent, added, change)

    def _change(self, rows: Rows | None, where: Where, intent: Intent) -> Commit:
        table = self._load()
        try:
            head = intent.check(table.metadata)
        except AlreadyDone as done:
            return already_done(intent, table.metadata, done)
        selection, read = Selection(self.name, table.metadata, where), ManifestsRead()
        with catalog_errors(f"planning a write to {self.name}"):
            found = plan(table.metadata, table.io, intent.branch, selection, read)
        whole = [of for of in found.touched if selection.file_must(of.file)]
        staying = survivors(table, selection, [of for of in found.touched if not selection.file_must(of.file)])
        given = () if rows is None else selection.only(_conformed(table, rows))
        added = write_files(table, chain(given, staying.batches()))
        removed = [*whole, *staying.touched]
        if not added and not removed and not intent.progress:
            return nothing_new(self.name, intent.branch, head)
        proof = {
            "read": staying.read,
            "kept": staying.kept,
            "removed": staying.removed,
            "whole": _rows_of(of.file for of in whole),
        }
        change = Change(
            Operation.DELETE if rows is None and removed and not added else Operation.OVERWRITE,
            found,
            # Partition specs may have come since.
            lambda metadata: plan(metadata, table.io, intent.branch, Selection(self.name, metadata, where), read),
            frozenset(of.path for of in removed),
            proof,
        )
        return commit_change(table, intent, added, change)

    def _exactly(self, count: int, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches, unless they are not so many rows in all: then CommitError, while their files can be removed."""
        seen = 0
        for batch in batches:
            seen += batch.num_rows
            yield batch
        if seen != count:
            raise CommitError(
                f"the rows that should replace files of {self.name} are not as many as are in these files",
                expected=f"{count} rows",
                found=f"{seen} rows",
                remedy="Nothing was written. Read the files once more, deleted rows left out.",
            )


def _conformed(table: IcebergTable, rows: Rows) -> Iterator[pa.RecordBatch]:
    schema = arrow_of(table.schema(), field_ids=True)
    return conformed(rows, schema, may_lack=json.loads(table.properties.get(RETIRED, "[]")))


def _rows_of(files: Iterable[DataFile]) -> int:
    return sum(int(file.record_count) for file in files)
