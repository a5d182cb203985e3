"""Values of found rows, read exactly: what an update of some columns keeps, and what a history is computed from.

Which rows are found is `found.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyiceberg.schema import Schema
from pyiceberg.table import FileScanTask

from lakehouse.iceberg.merge.strategy import Round
from lakehouse.iceberg.reads.exact import encoded, encoded_schema, position
from lakehouse.iceberg.reads.scan import State, read_files
from lakehouse.iceberg.schemas.schema import arrow_of

_OLD = "merge_old"
_BATCH = "lakehouse_old_rows"

Positions = npt.NDArray[np.int64]
"""Positions in one data file, ascending."""


def read_old(now: Round, which: str, wanted: Schema) -> str:
    """Columns of some found rows, in a temporary table `(file, position, c0, c1, ...)`, whose name is answered.

    `which` is a relation (file, position), `wanted` the columns; their values are encoded (`reads/exact.py`). Files are
    read one after another, a batch at a time. Raises CatalogError.
    """
    schema = encoded_schema(arrow_of(wanted, field_ids=False))
    cursor = now.cursor
    cursor.register(_BATCH, _lines(0, np.empty(0, np.int64), pa.RecordBatch.from_pylist([], schema=schema)))
    cursor.execute(f"CREATE OR REPLACE TEMP TABLE {_OLD} AS FROM {_BATCH}")
    try:
        for number, positions in by_file(cursor, which):
            for lines in _read(now, number, positions, wanted):
                cursor.register(_BATCH, lines)
                cursor.execute(f"INSERT INTO {_OLD} FROM {_BATCH}")
    finally:
        cursor.unregister(_BATCH)
    return _OLD


def by_file(cursor: duckdb.DuckDBPyConnection, which: str) -> list[tuple[int, Positions]]:
    """A relation (file, position) as the positions in each file."""
    found = cursor.execute(f"SELECT file, position FROM {which} ORDER BY file, position").to_arrow_table()
    if not found.num_rows:
        return []
    files, positions = (found[name].combine_chunks().to_numpy(zero_copy_only=False) for name in ("file", "position"))
    starts = np.flatnonzero(np.diff(files, prepend=-1))
    return [(int(files[start]), part) for start, part in zip(starts, np.split(positions, starts[1:]), strict=True)]


def _read(now: Round, number: int, positions: Positions, wanted: Schema) -> Iterator[pa.Table]:
    """The rows at these positions of a file; delete files are left out, for they would shift what is counted."""
    state = State(now.name, now.table, None, now.table.schema())
    start = 0
    for batch in read_files(state, [FileScanTask(now.found.files[number].file)], wanted):
        first, last = np.searchsorted(positions, [start, start + batch.num_rows])
        if last > first:
            here = positions[first:last]
            yield _lines(number, here, encoded(batch.take(pa.array(here - start))))
        start += batch.num_rows


def _lines(number: int, positions: Positions, columns: pa.RecordBatch) -> pa.Table:
    files = pa.array(np.full(len(positions), number, np.int32))
    names = ["file", "position", *(position(of) for of in range(columns.num_columns))]
    return pa.Table.from_arrays([files, pa.array(positions), *columns.columns], names=names)
