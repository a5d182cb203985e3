"""Copy-on-write: the rows of files that straddle a selection, without the selected ones, to be written anew.

Rows are read file by file, in batches, by field id, with the position deletes of other programs applied. Which files
these are is `plan.py`; how rows become files, `writer.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.io.pyarrow import _read_all_delete_files
from pyiceberg.schema import Schema
from pyiceberg.table import FileScanTask
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import CommitError
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.iceberg.reads.scan import State, read_files
from lakehouse.iceberg.schemas.schema import arrow_of
from lakehouse.iceberg.selection.plan import Touched
from lakehouse.iceberg.selection.where import Selection
from lakehouse.tables import TableName


@dataclass
class Survivors:
    """The rows to keep of some files. `read`, `kept` are counted while `batches` is consumed."""

    table: IcebergTable
    selection: Selection
    touched: Sequence[Touched]
    removed: int
    read: int = 0
    kept: int = 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows that are not selected. Raises CommitError when the counts do not agree at the end."""
        name, schema = self.selection.table, self.table.schema()
        arrow = arrow_of(schema, field_ids=True)
        for batch in _rows(self.table, name, self.touched, schema):
            left = self.selection.without(batch)
            self.read += batch.num_rows
            self.kept += left.num_rows
            if left.num_rows:
                yield left.cast(arrow)
        live = sum(live_rows(self.table, name, of) for of in self.touched)
        if self.read != live or self.read - self.kept != self.removed:
            raise CommitError(
                f"the rows of {name} that must stay could not be proved to be all there",
                expected=f"{live} rows, of which {self.removed} go",
                found=f"{self.read} rows, of which {self.read - self.kept} go",
                remedy="Nothing was written. See whether a data file of the table is damaged.",
            )


def survivors(table: IcebergTable, selection: Selection, touched: Sequence[Touched]) -> Survivors:
    """Of files that may hold selected rows: those that do, and how many rows that is.

    Only the columns of the filter are read for that. Raises CommitError for files under equality deletes.
    """
    counts = {of.path: _selected(table, selection, of) for of in touched}
    holding = [of for of in touched if counts[of.path]]
    return Survivors(table, selection, holding, sum(counts.values()))


def live_rows(table: IcebergTable, name: TableName, of: Touched) -> int:
    """Rows of a file that no delete file hides, from metadata and delete files alone.

    Raises CommitError for a file under equality deletes.
    """
    refuse_equality_deletes(name, of)
    if not of.deletes:
        return int(of.file.record_count)
    with catalog_errors(f"reading the delete files of {name}"):
        hidden = _read_all_delete_files(table.io, [_task(of)]).get(of.path, [])
    positions = pa.chunked_array([chunk for column in hidden for chunk in column.chunks], pa.int64())
    return int(of.file.record_count) - int(pc.count_distinct(positions).as_py())


def refuse_equality_deletes(name: TableName, of: Touched) -> None:
    """Raise CommitError for a file whose rows are hidden by value: which they are cannot be proved here."""
    if of.equality_deletes:
        raise CommitError(
            f"a file of {name} is under equality deletes of another program: {of.path}",
            expected="position deletes, or none",
            remedy="Let that program compact the table (e.g. rewrite_data_files), then run again.",
        )


def _selected(table: IcebergTable, selection: Selection, of: Touched) -> int:
    batches = _rows(table, selection.table, [of], selection.columns)
    return sum(selection.count(batch) for batch in batches)


def _rows(table: IcebergTable, name: TableName, touched: Sequence[Touched], schema: Schema) -> Iterator[pa.RecordBatch]:
    for of in touched:
        refuse_equality_deletes(name, of)
    state = State(name, table, None, table.schema())
    yield from read_files(state, [_task(of) for of in touched], schema)


def _task(of: Touched) -> FileScanTask:
    return FileScanTask(of.file, set(of.deletes))
