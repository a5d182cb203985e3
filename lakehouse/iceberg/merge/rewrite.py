"""Copy-on-write: data files written anew without some of their rows, proved by count.

Which rows go is said by the caller; how rows are encoded is `compaction/encoders.py` and `parquet/writer.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, TableProperties
from pyiceberg.table import Table as IcebergTable
from pyiceberg.typedef import Record

from lakehouse.errors import CommitError
from lakehouse.iceberg.compaction.encoders import Encoders
from lakehouse.iceberg.compaction.fingerprint import negative_zeros
from lakehouse.iceberg.compaction.groups import Group
from lakehouse.iceberg.deletes.hidden import hidden_rows
from lakehouse.iceberg.reads.scan import State, read_files
from lakehouse.iceberg.reads.sources import Sources
from lakehouse.iceberg.selection.plan import Touched
from lakehouse.iceberg.selection.rewrite import refuse_equality_deletes
from lakehouse.tables import TableName

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Rewritten:
    """The new files, and counts of rows: `read` are those that were live, of which `kept` are in the new files."""

    added: tuple[DataFile, ...] = ()
    read: int = 0
    kept: int = 0
    removed: int = 0

    def and_(self, other: Rewritten) -> Rewritten:
        """Both together."""
        return Rewritten(
            self.added + other.added, self.read + other.read, self.kept + other.kept, self.removed + other.removed
        )


def rewritten(  # noqa: PLR0913, PLR0917  (what a round works with, and what it asks for)
    cursor: duckdb.DuckDBPyConnection,
    sources: Sources,
    name: TableName,
    table: IcebergTable,
    touched: Sequence[Touched],
    gone: Mapping[str, pa.Array],
) -> Rewritten:
    """Write the live rows of these files anew, less those at the positions `gone` (from 0, of live rows, by path).

    Files of one partition become files of the table's target size together. What fails leaves no file. `cursor` is one
    of `prepared`, else DuckDB keeps the order of rows, at the price of memory. Raises CatalogError, StateError,
    SchemaMismatch for text that is not UTF-8, and CommitError for a file under equality deletes, and when the rows of
    the new files are not as many as must be left.
    """
    for of in touched:
        refuse_equality_deletes(name, of)
    rewriter = _Rewriter(cursor, sources, name, table)
    tasks = [FileScanTask(of.file, set(of.deletes)) for of in touched]
    hidden = hidden_rows(table, name, tasks)
    target = int(
        table.properties.get(
            TableProperties.WRITE_TARGET_FILE_SIZE_BYTES, TableProperties.WRITE_TARGET_FILE_SIZE_BYTES_DEFAULT
        )
    )
    done = Rewritten()
    try:
        for group in _groups(touched, target):
            done = done.and_(rewriter.rewritten(group, hidden, gone))
    except BaseException:
        _remove(table.io, done.added)
        raise
    return done


class _Rewriter:
    """Writes groups of files of one table anew."""

    def __init__(
        self, cursor: duckdb.DuckDBPyConnection, sources: Sources, name: TableName, table: IcebergTable
    ) -> None:
        self._cursor = cursor
        self._sources = sources
        self._name = name
        self._table = table
        self._encoders = Encoders(cursor, name, table, sources)

    def rewritten(self, group: Group, hidden: Mapping[str, pa.Array], gone: Mapping[str, pa.Array]) -> Rewritten:
        """One group, proved."""
        unseen = {of.path: _together(hidden.get(of.path), gone.get(of.path)) for of in group.touched}
        unseen = {path: positions for path, positions in unseen.items() if len(positions)}
        rows = sum(int(of.file.record_count) for of in group.touched)
        live = rows - sum(len(hidden.get(of.path, ())) for of in group.touched)
        removed = sum(len(gone.get(of.path, ())) for of in group.touched)
        left = rows - sum(map(len, unseen.values()))
        holding = [of for of in group.touched if len(unseen.get(of.path, ())) < of.file.record_count]
        added = self._written(Group(tuple(holding)), unseen) if left else ()
        kept = sum(int(file.record_count) for file in added)
        if kept != left or live != kept + removed:
            _remove(self._table.io, added)
            raise CommitError(
                f"the rows of {self._name} that must stay could not be proved to be all there",
                expected=f"{live} rows, of which {removed} go",
                found=f"{kept} rows in the new files, {left} expected there",
                remedy="Nothing was written. See whether a data file of the table is damaged.",
            )
        return Rewritten(added, live, kept, removed)

    def _written(self, group: Group, unseen: Mapping[str, pa.Array]) -> tuple[DataFile, ...]:
        readable = self._sources.readable([of.file for of in group.touched])
        if readable and self._encoders.by_duckdb(group, readable=True, negative_zeros=self._negative_zeros(group)):
            paths = {of.path for of in group.touched}
            return self._encoders.copy(group, {path: rows for path, rows in unseen.items() if path in paths})
        return self._encoders.write_rows(group, self._rows(group, unseen))

    def _negative_zeros(self, group: Group) -> int:
        with self._sources.rows(group.tasks, {}, by_duckdb=True) as rows:
            return negative_zeros(self._cursor, rows, self._table.schema())

    def _rows(self, group: Group, unseen: Mapping[str, pa.Array]) -> Iterator[pa.RecordBatch]:
        """The rows that are left, by our own reader: all rows of each file in their order, counted."""
        schema = self._table.schema()
        state = State(self._name, self._table, None, schema)
        for of in group.touched:
            seen = np.ones(int(of.file.record_count), bool)
            if of.path in unseen:
                seen[unseen[of.path].to_numpy()] = False
            start = 0
            for batch in read_files(state, [FileScanTask(of.file)], schema):
                mask = seen[start : start + batch.num_rows]
                start += batch.num_rows
                if start > len(seen):
                    raise self._miscounted(of, start)
                if mask.any():
                    yield batch.filter(pa.array(mask))
            if start != len(seen):
                raise self._miscounted(of, start)

    def _miscounted(self, of: Touched, found: int) -> CommitError:
        return CommitError(
            f"{of.path} of {self._name} does not hold as many rows as the table's metadata says",
            expected=f"{of.file.record_count} rows",
            found=f"{found} rows",
            remedy="Nothing was written. See whether the file is damaged.",
        )


def _groups(touched: Iterable[Touched], target: int) -> Iterator[Group]:
    """Files of one partition together, each group of about `target` bytes at most, the oldest files first."""
    partitions: dict[tuple[int, Record], list[Touched]] = defaultdict(list)
    for of in touched:
        partitions[of.file.spec_id, of.file.partition].append(of)
    for files in partitions.values():
        group: list[Touched] = []
        for of in files:
            if group and sum(int(one.file.file_size_in_bytes) for one in (*group, of)) > target:
                yield Group(tuple(group))
                group = []
            group.append(of)
        yield Group(tuple(group))


def _together(hidden: pa.Array | None, gone: pa.Array | None) -> pa.Array:
    """Both, each position once. A row that is both is found by the proof, which counts them."""
    arrays = [array.cast(pa.int64()) for array in (hidden, gone) if array is not None]
    return pc.unique(pa.chunked_array(arrays, pa.int64()))


def _remove(io: FileIO, files: Iterable[DataFile]) -> None:
    """Remove files that no snapshot can know."""
    for path in (str(file.file_path) for file in files):
        try:
            io.delete(path)
        except FileNotFoundError:
            _log.debug("file was not there", location=path)
        except OSError as error:
            _log.warning("file left behind", location=path, reason=str(error))
