"""The rows that a merge is given: read once, their keys in DuckDB, all else in Arrow, where no value changes.

What `rules.py` says of them is checked as far as no row of the table is needed for it. Which rows of the table have
these keys is `found.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from types import TracebackType
from typing import Self

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyiceberg.schema import Schema

from lakehouse.errors import SchemaMismatch
from lakehouse.iceberg.merge.keys import KeyBounds
from lakehouse.iceberg.merge.rules import Rules
from lakehouse.iceberg.parquet.conform import Rows, conformed
from lakehouse.iceberg.parquet.spill import Run, Spill
from lakehouse.iceberg.reads.exact import encoded, encoded_schema
from lakehouse.iceberg.reads.sources import duckdb_errors
from lakehouse.tables import TableName
from lakehouse.tables.types import duckdb_type

MERGE_KEYS = "merge_keys"
_ROWS = "merge_rows"
_BATCH = "lakehouse_batch"
_MEMORY_BYTES = 64 * 2**20
_SPILL_BYTES = 8 * 2**20
_STAGED_ROWS = 131_072
_SHOWN = 5


class Source:
    """The rows of one merge, for as long as it is entered.

    Makes the temporary table `merge_keys(row, k0, k1, ..., [sequence], [deleted])`: for each key the row that wins
    among those of that key: the highest sequence, of equal ones (and without a sequence) the last that arrived. `row`
    numbers rows from 0 as they arrived. Key columns have DuckDB's types of the table's columns.
    """

    def __init__(
        self, cursor: duckdb.DuckDBPyConnection, name: TableName, schema: Schema, rules: Rules, rows: Rows
    ) -> None:
        self._cursor = cursor
        self._name = name
        self._schema = schema
        self._rules = rules
        self._given: Rows | None = rows
        arriving = rules.arriving(schema)
        self._arriving = arriving
        self.schema = pa.schema([arriving.field(column) for column in rules.columns])
        """That of `batches`: with field ids; each column may hold NULL."""
        self._payload = _Payload(self.schema, unlimited=isinstance(rows, pa.Table))
        self._keys = [f"k{number}" for number in range(len(rules.key))]
        self._bounds: KeyBounds | None = None
        self.rows = 0
        """How many arrived."""
        self.keys = 0
        """How many different keys they have."""

    def __enter__(self) -> Self:
        """Take all rows in. Raises SchemaMismatch, StateError for a full disk, CatalogError, and what a reader raises.

        NULL in a key or sequence is refused with the numbers of the first such rows.
        """
        try:
            self._make()
            self._take()
            self._choose()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give memory and disk back."""
        self._close()

    def bounds(self) -> KeyBounds:
        """Which files may hold these keys."""
        assert self._bounds is not None  # noqa: S101  (for the type checker: the source was entered)
        return self._bounds

    def batches(self, keep: str | None = None) -> Iterator[pa.RecordBatch]:
        """The rows whose number a query (`SELECT row FROM ...`) yields, or all, in the order in which they arrived.

        Those too that have the key of another one. The query is done before the first batch is given out. Raises
        StateError, CatalogError.
        """
        if keep is None:
            yield from self._payload.batches()
            return
        kept, start = self.named(keep), 0
        for batch in self._payload.batches():
            mask = kept[start : start + batch.num_rows]
            start += batch.num_rows
            if mask.all():
                yield batch
            elif mask.any():
                yield batch.filter(pa.array(mask))

    def named(self, query: str) -> npt.NDArray[np.bool_]:
        """For each row that arrived, whether a query (`SELECT row FROM ...`) yields its number. Raises CatalogError."""
        named = np.zeros(self.rows, np.bool_)
        with self._failing():
            for batch in self._cursor.execute(query).to_arrow_reader(_STAGED_ROWS):
                named[batch.column(0).to_numpy(zero_copy_only=False)] = True
        return named

    def relation(self) -> str:
        """The name of a temporary table `(row, c0, c1, ...)` of all rows, encoded (`reads/exact.py`), made once.

        Its columns are those of the rules, in their order. Raises StateError, CatalogError.
        """
        return self._relation

    @cached_property
    def _relation(self) -> str:
        schema = encoded_schema(self.schema)
        empty = pa.table([pa.array([], pa.int64()), *pa.Table.from_batches([], schema)], names=["row", *schema.names])
        with self._failing():
            self._cursor.register(_BATCH, empty)
            self._cursor.execute(f"CREATE OR REPLACE TEMP TABLE {_ROWS} AS FROM {_BATCH}")
        start = 0
        for batch in self._payload.batches():
            numbers = pa.array(np.arange(start, start + batch.num_rows))
            start += batch.num_rows
            self._insert(_ROWS, pa.Table.from_arrays([numbers, *encoded(batch).columns], names=empty.column_names))
        return _ROWS

    def _make(self) -> None:
        columns = [f"{of} {self._type(key)}" for of, key in zip(self._keys, self._rules.key, strict=True)]
        if self._rules.sequence is not None:
            columns.append(f"sequence {self._type(self._rules.sequence)}")
        if self._rules.deleted is not None:
            columns.append("deleted BOOLEAN")
        with self._failing():
            self._cursor.execute(f"CREATE OR REPLACE TEMP TABLE {MERGE_KEYS} (row BIGINT, {', '.join(columns)})")

    def _take(self) -> None:
        rules = self._rules
        needed = [*rules.key, *filter(None, (rules.sequence,))]
        staged = [*needed, *filter(None, (rules.deleted,))]
        nulls = _Nulls(needed)
        waiting: list[pa.RecordBatch] = []
        rows, self._given = self._given, None
        assert rows is not None  # noqa: S101  (for the type checker: a source is entered once)
        for batch in conformed(rows, self._arriving):
            nulls.look(batch, self.rows)
            self._payload.add(batch.select(rules.columns))
            numbers = pa.array(np.arange(self.rows, self.rows + batch.num_rows))
            waiting.append(pa.RecordBatch.from_arrays([numbers, *(batch.column(of) for of in staged)], self._staged()))
            self.rows += batch.num_rows
            if sum(of.num_rows for of in waiting) >= _STAGED_ROWS:
                self._insert(MERGE_KEYS, pa.Table.from_batches(waiting))
                waiting = []
        if waiting:
            self._insert(MERGE_KEYS, pa.Table.from_batches(waiting))
        nulls.refuse(self._name, self.rows)

    def _staged(self) -> list[str]:
        rules = self._rules
        return [
            "row",
            *self._keys,
            *(["sequence"] if rules.sequence is not None else []),
            *(["deleted"] if rules.deleted is not None else []),
        ]

    def _choose(self) -> None:
        """Leave one row of each key."""
        keys = ", ".join(self._keys)
        newest = "sequence DESC, row DESC" if self._rules.sequence is not None else "row DESC"
        with self._failing():
            self._bounds = KeyBounds.of(
                self._cursor, MERGE_KEYS, [self._schema.find_field(key) for key in self._rules.key]
            )
            if self._bounds.repeated:
                # Of most rows it is enough to know that their key came once; only the others are ranked.
                self._cursor.execute(
                    f"DELETE FROM {MERGE_KEYS} WHERE row IN (SELECT row FROM (SELECT row, row_number() OVER (PARTITION"
                    f" BY {keys} ORDER BY {newest}) AS place FROM {MERGE_KEYS} SEMI JOIN (SELECT {keys} FROM"
                    f" {MERGE_KEYS} GROUP BY ALL HAVING count(*) > 1) USING ({keys})) WHERE place > 1)"
                )
            [(self.keys,)] = self._cursor.execute(f"SELECT count(*) FROM {MERGE_KEYS}").fetchall()

    def _insert(self, into: str, rows: pa.Table) -> None:
        with self._failing():
            self._cursor.register(_BATCH, rows)
            self._cursor.execute(f"INSERT INTO {into} FROM {_BATCH}")

    def _type(self, column: str) -> str:
        return duckdb_type(str(self._schema.find_type(column)))

    def _failing(self) -> AbstractContextManager[None]:
        return duckdb_errors(f"taking in rows for {self._name}")

    def _close(self) -> None:
        self._payload.close()
        self._cursor.unregister(_BATCH)
        for table in (MERGE_KEYS, _ROWS):
            self._cursor.execute(f"DROP TABLE IF EXISTS {table}")


class _Payload:
    """All columns of the rows in their order: the first in memory, those for which there is no room on disk.

    `unlimited`: the rows are in memory already, and stay there whatever is done.
    """

    def __init__(self, schema: pa.Schema, *, unlimited: bool) -> None:
        self._schema = schema
        self._unlimited = unlimited
        self._held: list[pa.RecordBatch] = []
        self._held_bytes = 0
        self._spill = Spill(schema, chunk_bytes=_SPILL_BYTES)
        self._spilled: Run = []
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0

    def add(self, batch: pa.RecordBatch) -> None:
        size = batch.nbytes
        if self._unlimited or (self._held_bytes + size <= _MEMORY_BYTES and not self._spilled and not self._waiting):
            self._held.append(batch)
            self._held_bytes += size
            return
        self._waiting.append(batch)
        self._waiting_bytes += size
        if self._waiting_bytes >= _SPILL_BYTES:
            self._spilled += self._spill.put(pa.Table.from_batches(self._waiting))
            self._waiting, self._waiting_bytes = [], 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        yield from self._held
        yield from self._spill.read(self._spilled)
        yield from self._waiting

    def close(self) -> None:
        self._held, self._waiting = [], []
        self._spill.__exit__(None, None, None)


class _Nulls:
    """Where NULL stands in columns that must have values: how many, and the first rows."""

    def __init__(self, columns: list[str]) -> None:
        self._columns = columns
        self._counts = dict.fromkeys(columns, 0)
        self._first: dict[str, list[int]] = {column: [] for column in columns}

    def look(self, batch: pa.RecordBatch, start: int) -> None:
        for column in self._columns:
            values = batch.column(column)
            if values.null_count:
                self._counts[column] += values.null_count
                found = self._first[column]
                if len(found) < _SHOWN:
                    at = np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))
                    found += (at[: _SHOWN - len(found)] + start).tolist()

    def refuse(self, name: TableName, rows: int) -> None:
        found = [
            f"{count} NULL in {column} (rows {', '.join(map(str, self._first[column]))}"
            f"{', ...' if count > len(self._first[column]) else ''})"
            for column, count in self._counts.items()
            if count
        ]
        if found:
            raise SchemaMismatch(
                f"rows for {name} have no key or no sequence",
                expected=f"a value of {', '.join(self._columns)} in every row",
                found=f"{'; '.join(found)} among {rows} rows, counted from 0",
                remedy="Filter or fill these rows. Nothing was written.",
            )
