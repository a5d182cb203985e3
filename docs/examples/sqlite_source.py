"""A source of one's own: rows of a SQLite table that are added and never changed, by a key that grows.

Load options: `table` and `key`. The position is `{"key": <the last one read>}`. Explained in docs/add-a-source.md.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pyarrow as pa

from lakehouse.errors import SourceChanged
from lakehouse.settings import OwnSource, Settings
from lakehouse.sources import Chunk, Extract, Options, SourceColumn
from lakehouse.tables import Position, Table
from lakehouse.tables.sql import quote

ROWS = 10_000


class SqliteReader:
    """Reads one table of the database file that the source's option `path` names."""

    def __init__(self, settings: Settings, source: OwnSource, table: Table) -> None:
        options = Options.of(table, known={"table", "key"})
        self._file = settings.project / str(source.options["path"])
        self._table, self._key = options.text("table"), options.text("key")

    def read(self, since: Position | None) -> Extract | None:
        """The rows with keys above the last one, up to the highest that is there now."""
        low = since["key"] if since else None
        ((highest, count),) = self._ask(f"select max({quote(self._key)}), count(*)", low)
        return Extract(self._chunks(low, highest), {"key": highest}, count) if count else None

    def pending(self, since: Position | None) -> bool:
        """Whether there is such a row."""
        return bool(self._ask("select 1", since["key"] if since else None, more="limit 1"))

    def columns(self) -> tuple[SourceColumn, ...]:
        """Names only: in SQLite the type is each value's own, so the column says `any`, and the door judges values."""
        with self._open() as connection:
            found = connection.execute('select name, "notnull" from pragma_table_info(?)', [self._table]).fetchall()
        return tuple(SourceColumn(name, "any", nullable=not required) for name, required in found)

    def _chunks(self, low: object, high: object) -> Iterator[Chunk]:
        with self._open() as connection:
            where = f"{quote(self._key)} <= ? and (? is null or {quote(self._key)} > ?) order by {quote(self._key)}"
            found = connection.execute(f"select * from {quote(self._table)} where {where}", [high, low, low])
            names = [column[0] for column in found.description]
            while rows := found.fetchmany(ROWS):
                values = dict(zip(names, map(_texts, zip(*rows, strict=True)), strict=True))
                places = [f"{self._file.name}:{self._table}#{key}" for key in values[self._key].to_pylist()]
                yield Chunk(pa.table(values), pa.chunked_array([places]))

    def _ask(self, what: str, low: object, more: str = "") -> list[tuple[Any, ...]]:
        where = f"(? is null or {quote(self._key)} > ?) {more}"
        with self._open() as connection:
            return connection.execute(f"{what} from {quote(self._table)} where {where}", [low, low]).fetchall()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True)) as connection:
                yield connection
        except sqlite3.Error as error:
            remedy = "Mend `path` in the settings, or `table` and `key` in the contract's load."
            raise SourceChanged(f"{self._file} cannot be read", found=str(error), remedy=remedy) from error


def _texts(values: tuple[object, ...]) -> pa.Array:
    return pa.array([value if value is None else str(value) for value in values], pa.string())
