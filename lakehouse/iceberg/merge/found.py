"""Which live rows of a table have a key of the rows that arrived: their files and positions.

Only key and sequence columns are read. Which files are worth a look is `keys.py`, what becomes of the rows
`resolve.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
from pyiceberg.table import FileScanTask
from pyiceberg.table import Table as IcebergTable

from lakehouse.iceberg.deletes.hidden import hidden_rows
from lakehouse.iceberg.merge.rules import Rules
from lakehouse.iceberg.merge.source import MERGE_KEYS
from lakehouse.iceberg.reads.exact import position
from lakehouse.iceberg.reads.sources import Sources, duckdb_errors
from lakehouse.iceberg.selection.plan import Touched
from lakehouse.iceberg.selection.rewrite import refuse_equality_deletes
from lakehouse.tables import TableName

MERGE_FOUND = "merge_found"


class Found:
    """The found rows, in the temporary table `merge_found(file, position, row, [sequence])`, made anew by this.

    `file` is the number of a file in `files`; `position` counts all its rows from 0, hidden ones too, which are never
    found. `row` is that of `merge_keys`, which has to be there. `sequence` is the found row's own.
    """

    def __init__(
        self, cursor: duckdb.DuckDBPyConnection, sources: Sources, name: TableName, table: IcebergTable, rules: Rules
    ) -> None:
        self.files: list[Touched] = []
        self._cursor = cursor
        self._name = name
        self._table = table
        self._keys = sources.only(rules.key)
        self._whole = sources.only([*rules.key, *filter(None, (rules.sequence,))])
        pairs = [f"{position(number)} = k{number}" for number in range(len(rules.key))]
        self._join = f"JOIN {MERGE_KEYS} ON {' AND '.join(pairs)}"
        sequence = position(len(rules.key))
        self._columns = "file, position, row" + (f", {sequence}" if rules.sequence is not None else "")
        with duckdb_errors(f"looking for keys in {name}"):
            kind = f", sequence {self._whole.types[-1]}" if rules.sequence is not None else ""
            cursor.execute(
                f"CREATE OR REPLACE TEMP TABLE {MERGE_FOUND} (file INTEGER, position BIGINT, row BIGINT{kind})"
            )

    def look(self, touched: Sequence[Touched]) -> None:
        """Add the rows of these files that have a key of ours.

        Raises CommitError for a file under equality deletes, CatalogError, SchemaMismatch for text that is not UTF-8.
        """
        for relation, files in self._relations(self._whole, touched, len(self.files)):
            self._ask(f"INSERT INTO {MERGE_FOUND} SELECT {self._columns} FROM {relation} {self._join}")
            self.files += files

    def holding(self) -> frozenset[str]:
        """The paths of the files in which something was found. Raises CatalogError."""
        numbers = self._ask(f"SELECT DISTINCT file FROM {MERGE_FOUND}")
        return frozenset(self.files[number].path for (number,) in numbers)

    def holds(self, touched: Sequence[Touched]) -> bool:
        """Whether a live row of these files has a key of ours. Raises as `look` does."""
        return any(
            self._ask(f"SELECT 1 FROM {relation} {self._join} LIMIT 1")
            for relation, _ in self._relations(self._keys, touched, 0)
        )

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb_errors(f"looking for keys in {self._name}"):
            return self._cursor.execute(sql).fetchall()

    def _relations(
        self, sources: Sources, touched: Sequence[Touched], first: int
    ) -> Iterator[tuple[str, Sequence[Touched]]]:
        """The rows of the files, as relations that hold for the next query, and which files each is of."""
        for of in touched:
            refuse_equality_deletes(self._name, of)
        hidden = hidden_rows(self._table, self._name, [FileScanTask(of.file, set(of.deletes)) for of in touched])
        readable = sources.readable_each([of.file for of in touched])
        for by_duckdb in (True, False):
            files = [of for of, reads in zip(touched, readable, strict=True) if reads is by_duckdb]
            if files:
                with sources.numbered([of.file for of in files], hidden, by_duckdb=by_duckdb, first=first) as relation:
                    yield relation, files
                first += len(files)
