"""Which rows of data files are hidden by position delete files, ours and other programs'.

Writing such files is `write.py`; which of them lie on a data file, `selection/plan.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.io.pyarrow import _read_all_delete_files
from pyiceberg.table import FileScanTask
from pyiceberg.table import Table as IcebergTable

from lakehouse.iceberg.failures import catalog_errors
from lakehouse.tables import TableName


def hidden_rows(table: IcebergTable, name: TableName, tasks: Iterable[FileScanTask]) -> dict[str, pa.Array]:
    """The positions (from 0, ascending, each once) of rows that delete files hide, by the path of the data file.

    Files without hidden rows are left out. Raises CatalogError.
    """
    wanted = [task for task in tasks if task.delete_files]
    if not wanted:
        return {}
    with catalog_errors(f"reading the delete files of {name}"):
        found = _read_all_delete_files(table.io, wanted)
    hidden: dict[str, pa.Array] = {}
    for task in wanted:
        columns = found.get(task.file.file_path, [])
        positions = pc.unique(pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.int64()))
        inside = pc.and_(pc.greater_equal(positions, 0), pc.less(positions, task.file.record_count))
        positions = positions.filter(inside)
        hidden[str(task.file.file_path)] = positions.take(pc.sort_indices(positions))
    return {path: positions for path, positions in hidden.items() if len(positions)}
