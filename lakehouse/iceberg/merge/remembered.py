"""What a branch remembers of keys beside its rows, as of one head: which file that is, and the one that follows it.

What stands in the file differs between merges (`tombstones.py`) and histories (`repeats.py`); how it is read and
written is `tombstone_file.py`.
"""

from __future__ import annotations

from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata

from lakehouse.iceberg.commits.progress import head_of
from lakehouse.iceberg.commits.sidecar import Sidecar, sidecar_at
from lakehouse.iceberg.merge.tombstone_file import remove


class Remembered:
    """The file that a branch of `table`, as it was loaded, names; and one that was written to follow it, if any.

    Raises CatalogError when what the table says of it cannot be read.
    """

    def __init__(self, table: IcebergTable, branch: str) -> None:
        self._table, self._branch = table, branch
        self._read = sidecar_at(table.metadata, head_of(table.metadata, branch))
        self._sidecar = Sidecar.of(self._read)
        self._written: str | None = None

    def unchanged(self, metadata: TableMetadata) -> bool:
        """Whether the branch still remembers what was read here."""
        return sidecar_at(metadata, head_of(metadata, self._branch)) == self._read

    def remove(self) -> None:
        """Remove the file that was written, which no snapshot names."""
        if self._written is not None:
            remove(self._table, self._written)
            self._written = None
