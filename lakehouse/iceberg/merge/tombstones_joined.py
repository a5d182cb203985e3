"""What two refs remember of keys put together, for a ref that takes a part of what the other holds.

That a change of some sequence deleted a key, or that a history was told something twice, is a fact of the source: it
holds on both refs, whichever rows each of them has. Who takes what is `refs/publish_windows.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from lakehouse.errors import CommitConflict, CommitError
from lakehouse.iceberg.commits.intent import Overtaken
from lakehouse.iceberg.commits.progress import head_of
from lakehouse.iceberg.commits.sidecar import Sidecar, sidecar_at
from lakehouse.iceberg.merge import tombstone_file as file
from lakehouse.iceberg.reads.sources import duckdb_errors
from lakehouse.tables import TableName

_ROWS = "arrived"
_AT_ONCE = 2**17


class Joined:
    """What `onto` has to remember when it takes work of a branch that began at `fork`.

    `entry` is for the summary, None where nothing changes. A file that is written is nobody's until the commit:
    `remove` it when there is none. Raises CatalogError, CommitError, StateError.
    """

    def __init__(self, table: IcebergTable, name: TableName, onto: str, branch: str, fork: Snapshot | None) -> None:
        self._table, self._name, self._onto = table, name, onto
        metadata = table.metadata
        self._here = sidecar_at(metadata, head_of(metadata, onto))
        theirs = sidecar_at(metadata, head_of(metadata, branch))
        self._written: str | None = None
        self.entry: str | None = None
        then, ours, others = sidecar_at(metadata, fork), Sidecar.of(self._here), Sidecar.of(theirs)
        if theirs in {self._here, then}:
            return
        if self._here == then or ours is None:
            self.entry = theirs
        elif others is not None:
            try:
                made = self._join((onto, ours), (branch, others))
            except Overtaken as overtaken:
                raise CommitConflict(f"{overtaken.reason}, on {onto!r} of {name}", remedy="Run again.") from None
            if made is not None:
                self.entry, self._written = made.encoded(), made.path

    def unchanged(self, metadata: TableMetadata) -> bool:
        """Whether `onto` still remembers what it did."""
        return sidecar_at(metadata, head_of(metadata, self._onto)) == self._here

    def remove(self) -> None:
        """Remove the file that was written, which no snapshot names."""
        if self._written is not None:
            file.remove(self._table, self._written)

    def _join(self, ours: tuple[str, Sidecar], theirs: tuple[str, Sidecar]) -> Sidecar | None:
        """A file of both; None where the other one adds nothing. Of two deletions of a key the later version counts."""
        key = {file.key_column(number): number for number in ours[1].key}
        if (theirs[1].key, theirs[1].sequence) != (ours[1].key, ours[1].sequence):
            raise CommitError(
                f"{theirs[0]!r} and {ours[0]!r} of {self._name} remember deleted keys by other columns",
                expected=f"the fields {ours[1].key}, and {ours[1].sequence} as the sequence",
                found=f"the fields {theirs[1].key}, and {theirs[1].sequence} as the sequence",
                remedy="Nothing was published. Discard the branch and merge by the same columns as on the other.",
            )
        with duckdb_errors(f"joining the deleted keys of {self._name}"), duckdb.connect(":memory:") as connection:
            # An id's column may be wider in the later file: a union has the wider type.
            for relation, (branch, sidecar) in (("ours", ours), ("theirs", theirs)):
                _fill(connection, relation, file.read(self._table, self._name, branch, sidecar))
            known = [*key, file.SEQUENCE]
            newest = ", ".join(f"{name} DESC" for name in (*known, file.WRITTEN_AT))
            connection.execute(
                f"CREATE TABLE joined AS SELECT DISTINCT ON ({', '.join(key)}) *"
                f" FROM (FROM ours UNION ALL BY NAME FROM theirs) ORDER BY {newest}"
            )
            [(more,)] = connection.execute(
                f"SELECT count(*) FROM joined ANTI JOIN ours USING ({', '.join(known)})"
            ).fetchall()
            if not more:
                return None
            rows = connection.execute("FROM joined").to_arrow_reader(_AT_ONCE)
            return file.write(self._table, self._name, key, ours[1].sequence, rows)


def _fill(connection: duckdb.DuckDBPyConnection, relation: str, batches: Iterator[pa.RecordBatch]) -> None:
    for number, batch in enumerate(batches):
        connection.register(_ROWS, batch)
        made = f"INSERT INTO {relation}" if number else f"CREATE TABLE {relation} AS"
        connection.execute(f"{made} FROM {_ROWS}")
        connection.unregister(_ROWS)
