"""Rows from PostgreSQL by a watermark column: the half-open interval from the last position to a bound taken first.

Load options: `table` (schema.table), `watermark` (a timestamp column, indexed if possible, set whenever a row
changes), `clock` (SQL for the time it is set from, default `clock_timestamp()`). The position is `{"watermark": "<ISO
time, UTC>"}`. A watermark without time zone is taken as UTC. Rows whose watermark is NULL belong to no interval: each
is handed over as broken.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime

import pyarrow as pa

from lakehouse.errors import SourceChanged, SourceError
from lakehouse.settings import PostgresSource, Settings
from lakehouse.sources.options import Options
from lakehouse.sources.postgres_bound import CLOCK, watermark_bound
from lakehouse.sources.postgres_catalog import CatalogColumn, Connection, Relation, columns, tables
from lakehouse.sources.postgres_connection import Address, Stream, catalogue
from lakehouse.sources.postgres_types import retype, select_list
from lakehouse.sources.reader import Broken, Chunk, Extract, SourceColumn
from lakehouse.tables import Position, Table
from lakehouse.tables.sql import literal, quote

_TIMES = {"timestamptz", "timestamp"}


class PostgresReader:
    """Reads one table of a PostgreSQL database by watermark."""

    def __init__(self, settings: Settings, source: PostgresSource, table: Table) -> None:
        options = Options.of(table, known={"table", "watermark", "clock"})
        self._settings, self._source, self._table = settings, source, table
        self._name = options.policy.source
        self._relation = Relation.parse(options.text("table"))
        self._clock = options.text("clock", CLOCK)
        if options.optional("watermark") is None:
            raise options.wrong(
                "watermark",
                expected="a timestamp column that changes with the row",
                found="nothing",
                remedy="Name one: without it every load would add the whole table to bronze again.",
            )
        self._watermark = options.text("watermark")

    def read(self, since: Position | None) -> Extract | None:
        """The rows from `since` to the bound, in one repeatable-read snapshot; None if no row lies between.

        Raises SourceChanged for a missing table or column, SourceUnreachable, SourceRefused.
        """
        address = self._address()
        low = _low(since, address)
        with catalogue(address) as connection:
            available = self._available(connection, address)
            declared = self._declared(available, address)
            bound = watermark_bound(connection, address, self._clock)
        if low is not None and bound <= low:
            return None
        watermark = self._watermark_column(available, address)
        interval = self._interval(low, bound)
        with ExitStack() as stack:
            stream = stack.enter_context(closing(Stream(address)))
            expected = stream.number(f"select count(*) from {self._relation.sql} where {interval}")
            nulls = self._count_nulls(stream, watermark)
            if not expected and (since is not None or not nulls):
                return None
            chunks = self._chunks(stack.pop_all(), stream, declared, interval, self._unplaced if nulls else None)
            # The first step enters the generator: from then on it closes the snapshot, even if nobody reads on.
            next(chunks)
        return Extract(chunks, {"watermark": _text(bound)}, expected + nulls)

    def pending(self, since: Position | None) -> bool:
        """Whether a row lies between `since` and the bound, which is taken as a read takes it.

        One EXISTS, which an index on the watermark answers without a look at the table. Raises SourceChanged,
        SourceUnreachable, SourceRefused, SourceError.
        """
        address = self._address()
        low = _low(since, address)
        with catalogue(address) as connection:
            bound = watermark_bound(connection, address, self._clock)
            if low is not None and bound <= low:
                return False
            # Rows without a watermark are handed over by the first read, and later beside others only.
            unplaced = f" or {self._unplaced}" if since is None else ""
            found = f"select exists (select from {self._relation.sql} where ({self._interval(low, bound)}){unplaced})"
            row = connection.execute(found.encode()).fetchone()
        return bool(row and row[0])

    def columns(self) -> tuple[SourceColumn, ...]:
        """The table's columns, from PostgreSQL's catalogue."""
        address = self._address()
        with catalogue(address) as connection:
            found = self._available(connection, address)
        return tuple(SourceColumn(column.name, column.type, column.nullable) for column in found.values())

    def _address(self) -> Address:
        return Address.of(self._settings, self._source, self._name)

    def _available(self, connection: Connection, address: Address) -> dict[str, CatalogColumn]:
        found = {column.name: column for column in columns(connection, self._relation)}
        if not found:
            there = [str(relation) for relation in tables(connection)]
            raise SourceChanged(
                f"{address} has no table {self._relation}, which {self._table.name} is loaded from",
                found=", ".join(there[:20]) or "no tables",
                remedy=f"Mend `table` in {self._table.file}, or restore the table.",
            )
        return found

    def _declared(self, available: dict[str, CatalogColumn], address: Address) -> tuple[CatalogColumn, ...]:
        names = [column.name for column in self._table.source_columns]
        missing = [name for name in [*names, self._watermark] if name not in available]
        if missing:
            raise SourceChanged(
                f"{address}: {self._relation} has no column {', '.join(map(repr, dict.fromkeys(missing)))},"
                f" which the contract of {self._table.name} names",
                found=", ".join(available),
                remedy=f"Mend {self._table.file}, or restore the column.",
            )
        return tuple(available[name] for name in names)

    def _watermark_column(self, available: dict[str, CatalogColumn], address: Address) -> CatalogColumn:
        column = available[self._watermark]
        if column.base not in _TIMES:
            raise SourceChanged(
                f"{address}: {self._relation}.{self._watermark} cannot be a watermark",
                expected="timestamp with time zone",
                found=column.type,
                remedy=f"Name another column as `watermark` in {self._table.file}.",
            )
        return column

    @property
    def _unplaced(self) -> str:
        return f"{quote(self._watermark)} is null"

    def _interval(self, low: datetime | None, bound: datetime) -> str:
        column = quote(self._watermark)
        below = f"{column} < {literal(_text(bound))}::timestamptz"
        return below if low is None else f"{column} >= {literal(_text(low))}::timestamptz and {below}"

    def _count_nulls(self, stream: Stream, watermark: CatalogColumn) -> int:
        if not watermark.nullable:
            return 0
        return stream.number(f"select count(*) from {self._relation.sql} where {self._unplaced}")

    def _chunks(
        self, owned: ExitStack, stream: Stream, declared: tuple[CatalogColumn, ...], interval: str, unplaced: str | None
    ) -> Iterator[Chunk]:
        source, table = f"{self._name}:{self._relation}", self._relation.sql
        with owned:
            yield Chunk(pa.table({}), source)
            for batch in stream.batches(f"select {select_list(declared)} from {table} where {interval}"):
                yield Chunk(retype(batch, declared), source)
            if unplaced is not None:
                names = ", ".join(quote(column.name) for column in declared)
                rows = f"select to_json(t)::text from (select {names} from {table} where {unplaced}) t"
                for batch in stream.batches(rows):
                    error = f"{self._watermark} is NULL, so the row lies in no interval"
                    broken = (Broken(str(row).encode(), source, error) for row in batch.column(0).to_pylist())
                    yield Chunk(pa.table({}), source, tuple(broken))


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def _low(since: Position | None, address: Address) -> datetime | None:
    if since is None:
        return None
    try:
        return datetime.fromisoformat(str(since["watermark"]))
    except (KeyError, ValueError):
        raise SourceError(
            f"{address}: the stored position is not one of a watermark",
            expected='{"watermark": "<ISO time>"}',
            found=repr(since),
            remedy="The table was loaded from another kind of source before: drop it, or restore its contract.",
        ) from None
