"""Rows by a watermark column: the half-open interval from the last position to a bound taken first.

Load options: `watermark` (a timestamp column, indexed if possible, set whenever a row changes), `clock` (SQL for the
time it is set from, default `clock_timestamp()`), `lag` (seconds before the last position that are read again, for
clocks that run behind; rows read already are recognised), `chunk_mb` (a larger table is read in parts at first, default
256). The position is `{"watermark": "<ISO time, UTC>"}`. A watermark without time zone is taken as UTC. Rows whose
watermark is NULL belong to no interval: each is handed over as broken.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta

from lakehouse.errors import SourceChanged
from lakehouse.settings import PostgresSource, Settings
from lakehouse.sources.postgres.blocks import compare_all, next_part, under_way
from lakehouse.sources.postgres.bound import CLOCK, Bound, watermark_bound
from lakehouse.sources.postgres.catalog import Connection
from lakehouse.sources.postgres.connection import Address, Stream, catalogue
from lakehouse.sources.postgres.reader import Asked, Described, PostgresReader
from lakehouse.sources.postgres.types import content_hash
from lakehouse.sources.reader import Compare, Extract
from lakehouse.tables import Position, Table, Window
from lakehouse.tables.sql import literal, quote

_TIMES = {"timestamptz", "timestamp"}
_VERSIONS = "versions"


class WatermarkReader(PostgresReader):
    """Reads what lies between two moments of a watermark column."""

    known = PostgresReader.known | {"clock", "lag", "chunk_mb"}

    def __init__(self, settings: Settings, source: PostgresSource, table: Table) -> None:
        super().__init__(settings, source, table)
        self._clock = self._options.text("clock", CLOCK)
        if self._options.optional("watermark") is None:
            raise self._options.wrong(
                "watermark",
                expected="a timestamp column that changes with the row, `xmin` or `full`",
                found="nothing",
                remedy="Name one: without it every load would add the whole table to bronze again.",
            )
        self._watermark = self._options.text("watermark")
        self._lag = timedelta(seconds=self._options.number("lag", 0))
        self._part_mb = self._options.number("chunk_mb", 256)
        if self._lag and not table.primary_key:
            raise self._options.wrong(
                "lag",
                expected="a contract with a primary key, by which rows that are read again are recognised",
                found="none",
                remedy="Mark the key's columns with `primaryKey: true`.",
            )

    def read(self, since: Position | None) -> Extract | None:
        """The rows from `since` to the bound, in one repeatable-read snapshot; None if no row lies between.

        Raises SourceChanged for a missing table or column, SourceUnreachable, SourceRefused.
        """
        address = self._address()
        low = self._low(since, address)
        with catalogue(address) as connection:
            described = self._describe_timed(connection, address)
            bound = watermark_bound(connection, address, self._clock)
        bound.warn(address)
        part = next_part(since, described.storage, self._part_mb, self._table, self._opened_at)
        if under_way(since) and low is not None:
            # The bound of the first part stays: what changed after it is read by the next increment.
            bound, low = Bound(low, bound.held_back), None
        elif low is not None and bound.time <= low:
            return None
        where = self._interval(self._from(since, low), bound.time)
        unplaced, reason = (
            f"{quote(self._watermark)} is null",
            f"{self._watermark} is NULL, so the row lies in no interval",
        )
        if part is not None:
            where, unplaced = f"{where} and {part.where}", f"{unplaced} and {part.where}"
        with ExitStack() as stack:
            stream = stack.enter_context(closing(Stream(address)))
            expected = self._count(stream, where)
            nulls = self._count(stream, unplaced) if described.columns[self._watermark].nullable else 0
            if not expected and part is None and (since is not None or not nulls):
                return None
            asked = Asked(where, self._version(described), (unplaced, reason) if nulls else None)
            reached = self._reached(since, bound.time) | (part.position if part is not None else {})
            return Extract(
                self._chunks(stack.pop_all(), stream, described, asked),
                reached,
                expected + nulls,
                compare=self._compare(since),
                more=under_way(reached),
                held_back=bound.held_back,
            )

    def between(self, window: Window) -> Extract | None:
        """The rows whose watermark lies in these days (UTC), up to the bound; None if there are none."""
        address = self._address()
        with catalogue(address) as connection:
            described = self._describe_timed(connection, address)
            bound = watermark_bound(connection, address, self._clock)
        first, last = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (window.start, window.end))
        where = self._interval(first, min(last, bound.time))
        with ExitStack() as stack:
            stream = stack.enter_context(closing(Stream(address)))
            expected = self._count(stream, where)
            if not expected:
                return None
            chunks = self._chunks(stack.pop_all(), stream, described, Asked(where, self._version(described)))
            return Extract(chunks, {"watermark": _text(bound.time)}, expected, held_back=bound.held_back)

    def pending(self, since: Position | None) -> bool:
        """Whether a row lies between `since` and the bound, which is taken as a read takes it.

        One EXISTS, which an index on the watermark answers without a look at the table. Raises SourceChanged,
        SourceUnreachable, SourceRefused, SourceError.
        """
        address = self._address()
        low = self._low(since, address)
        if under_way(since):
            return True
        with catalogue(address) as connection:
            bound = watermark_bound(connection, address, self._clock).time
            if low is not None and bound <= low:
                return False
            # Rows without a watermark are handed over by the first read, and later beside others only.
            unplaced = f" or {quote(self._watermark)} is null" if since is None else ""
            interval = self._interval(self._from(since, low), bound)
            found = f"select exists (select from {self._relation.sql} where ({interval}){unplaced})"
            row = connection.execute(found.encode()).fetchone()
        return bool(row and row[0])

    def _describe_timed(self, connection: Connection, address: Address) -> Described:
        described = self._describe(connection, address, self._watermark)
        column = described.columns[self._watermark]
        if column.base not in _TIMES:
            raise SourceChanged(
                f"{address}: {self._relation}.{self._watermark} cannot be a watermark",
                expected="timestamp with time zone",
                found=column.type,
                remedy=f"Name another column as `watermark` in {self._table.file}.",
            )
        return described

    def _interval(self, low: datetime | None, bound: datetime) -> str:
        column = quote(self._watermark)
        below = f"{column} < {literal(_text(bound))}::timestamptz"
        return below if low is None else f"{column} >= {literal(_text(low))}::timestamptz and {below}"

    def _from(self, since: Position | None, low: datetime | None) -> datetime | None:
        """Where to read from: the lag before the position, as far as bronze has versions to recognise rows by."""
        if since is None or low is None or not self._lag or _VERSIONS not in since:
            return low
        oldest = since[_VERSIONS]
        return low - self._lag if oldest is None else max(low - self._lag, datetime.fromisoformat(str(oldest)))

    def _reached(self, since: Position | None, bound: datetime) -> Position:
        reached: Position = {"watermark": _text(bound)}
        if self._lag:
            # None: all of bronze has versions.
            reached[_VERSIONS] = None if since is None else since.get(_VERSIONS, since["watermark"])
        return reached

    def _version(self, described: Described) -> str | None:
        if not self._lag:
            return None
        if described.storage.kind in {"r", "p"}:
            # Two changes may have one time; they never have one transaction and one time and differ in what is visible.
            return f"xmin::text || '@' || {quote(self._watermark)}::text"
        return content_hash([*described.declared, described.columns[self._watermark]])

    def _compare(self, since: Position | None) -> Compare | None:
        if since is None or under_way(since):
            return compare_all(self._table, since)
        return Compare(self._table.primary_key, version='"_source_version"') if self._lag else None

    def _low(self, since: Position | None, address: Address) -> datetime | None:
        if since is None:
            return None
        try:
            return datetime.fromisoformat(str(since["watermark"]))
        except (KeyError, ValueError):
            raise self._wrong_position(address, "a watermark", since) from None


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")
