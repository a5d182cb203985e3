"""The net difference of two sets of rows: what is in one and not in the other, each as often as it is.

DuckDB does it on disk, in a folder of its own. Which files the rows come from is `delta.py`.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from lakehouse.errors import CatalogError, LakehouseError, QueryError
from lakehouse.iceberg.reads.exact import decoded, encoded, encoded_schema, position
from lakehouse.tables import TableName
from lakehouse.tables.sql import literal

MEMORY = "512MB"
"""What DuckDB may hold before it spills."""

_BATCH_ROWS = 65_536
_EPOCH = date(1970, 1, 1)
_DAY_US = 86_400_000_000


class Net:
    """Rows of one schema: inserted and deleted, and with a key paired into updates. Closed, its files are gone."""

    def __init__(self, name: TableName, schema: pa.Schema, key: Sequence[str]) -> None:
        self._name = name
        self._schema = schema
        self._key = [position(schema.get_field_index(column)) for column in key]
        self._folder = Path(tempfile.mkdtemp(prefix="lakehouse-changes-"))
        self._duck = duckdb.connect(str(self._folder / "net.duckdb"))
        for setting in (
            f"memory_limit = {literal(MEMORY)}",
            f"temp_directory = {literal(str(self._folder / 'spill'))}",
            "preserve_insertion_order = false",
        ):
            self._duck.execute(f"SET {setting}")
        self.close = weakref.finalize(self, _remove, self._duck, self._folder)

    def fill(self, added: Iterable[pa.RecordBatch], removed: Iterable[pa.RecordBatch]) -> None:
        """Take in both sides. Raises QueryError when a key is on one side twice, and what the sides raise."""
        columns = ", ".join(position(number) for number in range(len(self._schema)))
        schema = encoded_schema(self._schema)
        failures: list[LakehouseError] = []
        for side, batches in (("added", added), ("removed", removed)):
            reader = pa.RecordBatchReader.from_batches(schema, _noted(batches, failures))
            self._duck.register(side, reader)
        self._run(
            f"CREATE TABLE net AS SELECT {columns}, sum(side)::BIGINT AS n FROM"
            " (SELECT *, 1 AS side FROM added UNION ALL SELECT *, -1 AS side FROM removed)"
            f" GROUP BY {columns} HAVING sum(side) <> 0",
            failures,
        )
        if self._key:
            self._refuse_twice()

    def rows(self) -> Iterator[tuple[pa.Array, pa.RecordBatch]]:
        """What happened ("insert", "delete", "update_before", "update_after"), and the rows it happened to.

        With a key, an update's images follow one another.
        """
        keys = ", ".join(self._key)
        columns = ", ".join(position(number) for number in range(len(self._schema)))
        if self._key:
            sql = (
                "SELECT CASE WHEN n > 0 THEN if(paired, 'update_after', 'insert')"
                f" ELSE if(paired, 'update_before', 'delete') END AS change, {columns}"
                f" FROM (SELECT *, count(*) OVER (PARTITION BY {keys}) > 1 AS paired FROM net) ORDER BY {keys}, n"
            )
        else:
            sql = (
                f"SELECT if(n > 0, 'insert', 'delete') AS change, {columns}"
                " FROM (SELECT *, unnest(range(abs(n))) FROM net)"
            )
        # A cursor of its own: another question must not end this stream.
        with self._failing(), self._duck.cursor() as cursor:
            for batch in cursor.execute(sql).to_arrow_reader(_BATCH_ROWS):
                yield batch.column(0), decoded(batch.columns[1:], self._schema)

    def counts(self) -> Mapping[str, int]:
        """Rows by what happened to them; an update is counted once."""
        paired = f"SELECT count(*) FROM (SELECT 1 FROM net GROUP BY {', '.join(self._key)} HAVING count(*) > 1)"
        [(added, removed, updated)] = self._run(
            "SELECT coalesce(sum(n) FILTER (n > 0), 0), coalesce(-sum(n) FILTER (n < 0), 0),"
            f" {f'({paired})' if self._key else 0} FROM net"
        )
        return {"insert": int(added - updated), "delete": int(removed - updated), "update": int(updated)}

    def days(self, column: str) -> frozenset[date]:
        """The days (in UTC) of a date or timestamp column, of every row on either side."""
        number = self._schema.get_field_index(column)
        value = position(number)
        if not pa.types.is_date(self._schema.field(number).type):
            # Whole days downwards, also before 1970.
            value = f"(({value} - (({value} % {_DAY_US}) + {_DAY_US}) % {_DAY_US}) // {_DAY_US})"
        found = self._run(f"SELECT DISTINCT {value} AS day FROM net WHERE day IS NOT NULL")
        return frozenset(_EPOCH + timedelta(days=day) for (day,) in found)

    def _refuse_twice(self) -> None:
        keys = ", ".join(self._key)
        with self._failing(), self._duck.cursor() as cursor:
            twice = cursor.execute(
                f"SELECT {keys} FROM net GROUP BY {keys}, n > 0 HAVING sum(abs(n)) > 1 LIMIT 1"
            ).to_arrow_table()
        if twice.num_rows:
            names = [self._schema.field(int(key[1:])).name for key in self._key]
            schema = pa.schema([self._schema.field(name) for name in names])
            [value] = decoded([column.combine_chunks() for column in twice.columns], schema).to_pylist()
            raise QueryError(
                f"{self._name} holds a key more than once, so its changes cannot be paired",
                expected=f"one row for each {', '.join(names)}",
                found=", ".join(f"{column}={shown!r}" for column, shown in value.items()),
                remedy="Name a key that identifies a row, or none: then updates are a delete and an insert.",
            )

    def _run(self, sql: str, failures: Sequence[LakehouseError] = ()) -> list[tuple[Any, ...]]:
        with self._failing(failures):
            return self._duck.execute(sql).fetchall()

    @contextmanager
    def _failing(self, failures: Sequence[LakehouseError] = ()) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            if failures:
                raise failures[0] from None
            raise CatalogError(
                f"comparing snapshots of {self._name} fails",
                found=str(error).splitlines()[0],
                remedy=f"Make room under {tempfile.gettempdir()} (TMPDIR names another folder), and run again.",
            ) from error


def _noted(batches: Iterable[pa.RecordBatch], failures: list[LakehouseError]) -> Iterator[pa.RecordBatch]:
    """The batches, encoded; an error of ours is kept, for DuckDB hands on only its text."""
    try:
        for batch in batches:
            yield encoded(batch)
    except LakehouseError as error:
        failures.append(error)
        raise


def _remove(duck: duckdb.DuckDBPyConnection, folder: Path) -> None:
    duck.close()
    shutil.rmtree(folder, ignore_errors=True)
