"""What every way to read a PostgreSQL table shares: its columns, and the rows of one query as chunks.

Load options of every way: `table` (schema.table), `ignore` (columns of the source, not named by the contract, that are
not to be kept either). Which rows are read, and how far that is, does not belong here: see `watermark.py`, `xmin.py`
and `full.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from lakehouse.errors import SourceChanged, SourceError
from lakehouse.settings import PostgresSource, Settings
from lakehouse.sources.options import Options
from lakehouse.sources.postgres.catalog import CatalogColumn, Connection, Relation, Storage, columns, storage, tables
from lakehouse.sources.postgres.connection import Address, Stream, catalogue
from lakehouse.sources.postgres.types import as_json, retype, select_list
from lakehouse.sources.reader import Broken, Chunk, SourceColumn
from lakehouse.tables import Position, Table
from lakehouse.tables.sql import quote

_VERSION = "_source_version"


@dataclass(frozen=True)
class Described:
    """A relation as it is now. `declared` are the columns of the contract, `extra` others that are to be kept."""

    storage: Storage
    columns: Mapping[str, CatalogColumn]
    declared: tuple[CatalogColumn, ...]
    extra: tuple[CatalogColumn, ...]


@dataclass(frozen=True)
class Asked:
    """The rows of one read, in SQL: which, their version, and those that cannot be placed, with the reason."""

    where: str
    version: str | None = None
    unplaced: tuple[str, str] | None = None


class PostgresReader:
    """One table of a PostgreSQL database."""

    known = frozenset({"table", "watermark", "ignore"})
    """The load options."""

    def __init__(self, settings: Settings, source: PostgresSource, table: Table) -> None:
        self._options = Options.of(table, known=self.known)
        self._settings, self._source, self._table = settings, source, table
        self._name = self._options.policy.source
        self._relation = Relation.parse(self._options.text("table"))
        self._ignored = self._options.names("ignore")
        self._opened_at = datetime.now(UTC)

    def columns(self) -> tuple[SourceColumn, ...]:
        """The table's columns, from PostgreSQL's catalogue."""
        address = self._address()
        with catalogue(address) as connection:
            found = self._available(connection, address)
        return tuple(SourceColumn(column.name, column.type, column.nullable) for column in found.values())

    def _address(self) -> Address:
        return Address.of(self._settings, self._source, self._name)

    def _describe(self, connection: Connection, address: Address, *needed: str) -> Described:
        """The relation, with the columns of the contract and those `needed` beside them.

        An optional column may have gone: it is NULL from then on, unless the contract's `drift` forbids it. Raises
        SourceChanged.
        """
        available = self._available(connection, address)
        declared = self._table.source_columns
        names = [column.name for column in declared if column.required or column.name in available]
        missing = [name for name in [*names, *needed] if name not in available]
        if missing:
            raise SourceChanged(
                f"{address}: {self._relation} has no column {', '.join(map(repr, dict.fromkeys(missing)))},"
                f" which the contract of {self._table.name} names",
                found=", ".join(available),
                remedy=f"Mend {self._table.file}, or restore the column.",
            )
        stored = storage(connection, self._relation)
        if stored is None:
            raise self._no_table(connection, address)
        left_out = {*(column.name for column in declared), *self._ignored}
        extra = tuple(one for one in available.values() if one.name not in left_out and one.readable)
        return Described(stored, available, tuple(available[name] for name in names), extra)

    def _available(self, connection: Connection, address: Address) -> dict[str, CatalogColumn]:
        found = {column.name: column for column in columns(connection, self._relation)}
        if not found:
            raise self._no_table(connection, address)
        return found

    def _no_table(self, connection: Connection, address: Address) -> SourceChanged:
        there = [str(relation) for relation in tables(connection)]
        return SourceChanged(
            f"{address} has no table {self._relation}, which {self._table.name} is loaded from",
            found=", ".join(there[:20]) or "no tables",
            remedy=f"Mend `table` in {self._table.file}, or restore the table.",
        )

    def _count(self, stream: Stream, where: str) -> int:
        return stream.number(f"select count(*) from {self._relation.sql} where {where}")

    def _chunks(self, owned: ExitStack, stream: Stream, described: Described, asked: Asked) -> Iterator[Chunk]:
        """The rows, in a generator that is entered already: it closes the snapshot, even if nobody reads on."""
        chunks = self._read(owned, stream, described, asked)
        next(chunks)
        return chunks

    def _read(self, owned: ExitStack, stream: Stream, described: Described, asked: Asked) -> Iterator[Chunk]:
        source, table, declared = f"{self._name}:{self._relation}", self._relation.sql, described.declared
        also = [f"{asked.version} as {_VERSION}"] if asked.version is not None else []
        also += [as_json(described.extra)] if described.extra else []
        with owned:
            yield Chunk(pa.table({}), source)
            selected = ", ".join([select_list(declared), *also])
            for batch in stream.batches(f"select {selected} from {table} where {asked.where}"):
                rows = retype(batch.select(range(len(declared))), declared)
                if asked.version is not None:
                    rows = rows.append_column(_VERSION, batch.column(len(declared)))
                extra = pa.chunked_array([batch.column(batch.num_columns - 1)]) if described.extra else None
                yield Chunk(rows, source, extra=extra)
            if asked.unplaced is not None:
                where, error = asked.unplaced
                names = ", ".join(quote(column.name) for column in declared)
                rows = f"select to_json(t)::text from (select {names} from {table} where {where}) t"
                for batch in stream.batches(rows):
                    broken = (Broken(str(row).encode(), source, error) for row in batch.column(0).to_pylist())
                    yield Chunk(pa.table({}), source, tuple(broken))

    def _wrong_position(self, address: Address, expected: str, since: Position) -> SourceError:
        return SourceError(
            f"{address}: the stored position is not one of {expected}",
            found=repr(since)[:200],
            remedy=f"It was loaded in another way: mend it, or `lakehouse load run {self._table.name} --full`.",
        )
