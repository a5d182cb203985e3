"""One compaction of one table: group by group written, proved, and committed in batches.

How each of these is done is in the modules beside; which files belong together is decided by the caller.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import duckdb
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import CatalogError, CommitError, SchemaMismatch
from lakehouse.iceberg.commits.intent import Intent
from lakehouse.iceberg.compaction.encoders import Encoders
from lakehouse.iceberg.compaction.fingerprint import Fingerprint, fingerprint
from lakehouse.iceberg.compaction.groups import Group, sort_out, stands
from lakehouse.iceberg.compaction.land import Rewritten, land, remove_files
from lakehouse.iceberg.compaction.outcome import Compaction, CompactionStep, Phase
from lakehouse.iceberg.deletes.hidden import hidden_rows
from lakehouse.iceberg.reads.sources import Sources
from lakehouse.iceberg.selection.plan import ManifestsRead
from lakehouse.tables import TableName
from lakehouse.tables.sql import literal

BATCH_BYTES = 2 * 2**30
_BATCH_GROUPS = 50
_SETTINGS = {
    # Else DuckDB holds row groups back until those before are written; and it could not bound them by bytes.
    "preserve_insertion_order": "false",
    "TimeZone": "UTC",
    # On S3 a file is uploaded in 10,000 parts at most, each held in memory: of 80 MB by default, now of 5 MB.
    "s3_uploader_max_filesize": "50GB",
    "s3_uploader_thread_limit": "4",
}

Progress = Callable[[CompactionStep], None]
SoFar = Callable[[Compaction], None]


@contextmanager
def prepared(connection: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """A cursor with the settings that this work needs.

    They are the whole database's and stay: put back, they would change under another cursor that still needs them.
    """
    with connection.cursor() as cursor:
        # Those of S3 are there where its extension is.
        known = f"SELECT name FROM duckdb_settings() WHERE name IN ({', '.join(map(literal, _SETTINGS))})"
        for (name,) in cursor.execute(known).fetchall():
            cursor.execute(f"SET {name} = '{_SETTINGS[name]}'")
        yield cursor


class Run:
    """One compaction. See `Compacting.compact`."""

    def __init__(  # noqa: PLR0913  (what a compaction is made of, and who is told)
        self,
        load: Callable[[], IcebergTable],
        name: TableName,
        connection: duckdb.DuckDBPyConnection,
        intent: Intent,
        *,
        progress: Progress | None = None,
        so_far: SoFar | None = None,
    ) -> None:
        self._load = load
        self._name = name
        self._connection = connection
        self._intent = intent
        self._progress = progress
        self._so_far = so_far
        self._table = load()
        intent.check(self._table.metadata)
        self._sources = Sources(connection, name, self._table)
        self._encoders = Encoders(connection, name, self._table, self._sources)
        self._read = ManifestsRead()
        self._groups = 0
        self._batch: list[Rewritten] = []
        self._done = Compaction(name)

    def all(self, wanted: Sequence[Collection[str]], batch_bytes: int) -> Compaction:
        """Write each group anew, prove it, and commit it with others, at most `batch_bytes` of old files at once."""
        found = sort_out(self._table, self._name, wanted, self._read)
        self._groups = len(found.groups)
        self._done = replace(self._done, overtaken=found.overtaken, refused=found.refused)
        try:
            for number, group in enumerate(found.groups, start=1):
                try:
                    self._rewrite(number, group)
                except SchemaMismatch as error:
                    self._done = replace(self._done, refused=(*self._done.refused, error.what))
                except CatalogError:
                    # Whoever replaced a file may have deleted it, too.
                    if stands(self._load(), self._name, group):
                        raise
                    self._done = replace(self._done, overtaken=self._done.overtaken + 1)
                if sum(of.group.bytes for of in self._batch) >= batch_bytes or len(self._batch) >= _BATCH_GROUPS:
                    self._land()
            self._land()
        except BaseException:
            # Those that were handed over to be committed are not in it any more.
            remove_files(self._table.io, self._batch)
            raise
        return self._done

    def _rewrite(self, number: int, group: Group) -> None:
        """Write a group anew, and prove it."""
        started = time.perf_counter()
        hidden = hidden_rows(self._table, self._name, group.tasks)
        readable = self._sources.readable([of.file for of in group.touched])
        with self._sources.rows(group.tasks, hidden, by_duckdb=readable) as rows:
            before = fingerprint(self._connection, rows, self._table.schema())
        live = sum(int(of.file.record_count) for of in group.touched) - sum(map(len, hidden.values()))
        self._same(before, replace(before, rows=live), group, "its metadata and delete files")
        read = time.perf_counter()
        by_duckdb = self._encoders.by_duckdb(group, readable=readable, negative_zeros=before.negative_zeros)
        added: tuple[DataFile, ...] = ()
        if before.rows:
            added = self._encoders.copy(group, hidden) if by_duckdb else self._encoders.write(group)
        written = time.perf_counter()
        made = Rewritten(number, group, added, before)
        try:
            self._tell(Phase.WRITTEN, made)
            self._same(self._fingerprint_of(added), before, group, "the files that it replaces")
            self._tell(Phase.PROVED, made)
        except BaseException:
            remove_files(self._table.io, [made])
            raise
        self._batch.append(made)
        proved = time.perf_counter()
        self._done = replace(
            self._done,
            rewrite_s=self._done.rewrite_s + written - read,
            proof_s=self._done.proof_s + read - started + proved - written,
        )

    def _fingerprint_of(self, added: tuple[DataFile, ...]) -> Fingerprint:
        if not added:
            return Fingerprint(0, 0, 0)
        tasks = [FileScanTask(file) for file in added]
        by_duckdb = self._sources.readable(added)
        with self._sources.rows(tasks, {}, by_duckdb=by_duckdb) as rows:
            return fingerprint(self._connection, rows, self._table.schema())

    def _same(self, found: Fingerprint, expected: Fingerprint, group: Group, what: str) -> None:
        if found != expected:
            raise CommitError(
                f"a rewrite of {len(group.touched)} files of {self._name} does not hold the rows of {what}",
                expected=f"{expected.rows} rows with the hash {expected.hash}",
                found=f"{found.rows} rows with the hash {found.hash}",
                remedy="Nothing of it was committed. Check the storage; if it is well, report this.",
            )

    def _land(self) -> None:
        """Commit what waits."""
        batch, self._batch = self._batch, []
        if not batch:
            return
        landed = land(self._load, self._table, self._intent, batch, self._read)
        done = self._done
        self._done = replace(
            done,
            commits=(*done.commits, *([landed.commit] if landed.commit else [])),
            groups=done.groups + len(landed.done),
            overtaken=done.overtaken + landed.overtaken,
            files_before=done.files_before + sum(len(of.group.touched) for of in landed.done),
            files_after=done.files_after + sum(len(of.added) for of in landed.done),
            bytes_before=done.bytes_before + sum(of.group.bytes for of in landed.done),
            bytes_after=done.bytes_after + sum(int(file.file_size_in_bytes) for of in landed.done for file in of.added),
            rows=done.rows + sum(of.fingerprint.rows for of in landed.done),
            row_hash=str(int(done.row_hash) + sum(of.fingerprint.hash for of in landed.done)),
        )
        if self._so_far is not None:
            self._so_far(self._done)
        for of in landed.done:
            self._tell(Phase.COMMITTED, of)

    def _tell(self, phase: Phase, of: Rewritten) -> None:
        if self._progress is not None:
            step = CompactionStep(
                self._name, phase, of.number, self._groups, of.paths, of.fingerprint.rows, of.group.bytes
            )
            self._progress(step)
