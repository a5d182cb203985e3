"""Rows by the transaction that wrote them: exact, whatever clock the application uses, for a sequential scan a load.

Load options: `watermark: xmin`, `chunk_mb` (as for a watermark column). The position is the reading snapshot and what
its numbers belong to: `{"snapshot": "xmin:xmax:running", "identity": "<system>/<timeline>/<database>/<table>"}`. The
next load reads all rows of transactions that had not ended then; those that bronze has are recognised by key and
`_source_version`, the transaction in 16 hexadecimal digits and a mark of the identity. Deletions are not seen.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack, closing
from dataclasses import dataclass

from lakehouse.errors import ContractError, SourceChanged
from lakehouse.settings import PostgresSource, Settings
from lakehouse.sources.postgres.blocks import compare_all, next_part, under_way
from lakehouse.sources.postgres.bound import require_primary
from lakehouse.sources.postgres.catalog import Storage
from lakehouse.sources.postgres.connection import Address, Stream, catalogue
from lakehouse.sources.postgres.reader import Asked, PostgresReader
from lakehouse.sources.postgres.snapshot import Snapshot
from lakehouse.sources.reader import Compare, Extract
from lakehouse.tables import Position, Table
from lakehouse.tables.sql import literal

_KINDS = {"p": "a partitioned table", "v": "a view", "m": "a materialized view", "f": "a foreign table"}

_IDENTITY = """
select (pg_control_system()).system_identifier::text || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '/' ||
       (select oid from pg_database where datname = current_database())::text || '/' || {relation}::regclass::oid::text
"""


@dataclass(frozen=True)
class _Begun:
    """A position: the snapshot that was read, and what it is a snapshot of."""

    snapshot: Snapshot
    identity: str


class XminReader(PostgresReader):
    """Reads what transactions have written that had not ended at the last load."""

    known = PostgresReader.known | {"chunk_mb"}

    def __init__(self, settings: Settings, source: PostgresSource, table: Table) -> None:
        super().__init__(settings, source, table)
        self._part_mb = self._options.number("chunk_mb", 256)
        if not table.primary_key:
            raise ContractError(
                f"{table.file}: {table.name} is loaded by xmin and has no primary key",
                expected="one, by which rows that are read again are recognised",
                remedy="Mark the key's columns with `primaryKey: true`, or load by a watermark column.",
            )

    def read(self, since: Position | None) -> Extract | None:
        """The rows written since, as one repeatable-read snapshot shows them; None if there are none.

        Raises SourceChanged for what cannot be read by xmin, and when the position is another database's or table's.
        """
        address = self._address()
        begun = self._begun(since, address)
        with catalogue(address) as connection:
            described = self._describe(connection, address)
            self._require_table(described.storage, address)
            require_primary(connection, address)
        part = next_part(since, described.storage, self._part_mb, self._table, self._opened_at)
        with ExitStack() as stack:
            stream = stack.enter_context(closing(Stream(address)))
            now = Snapshot.parse(stream.text("select pg_current_snapshot()::text"))
            identity = self._identity(stream)
            self._require_same(begun, identity, address)
            where = self._where(begun, now) if part is None else part.where
            if where is None:
                return None
            expected = self._count(stream, where)
            if not expected and part is None:
                return None
            kept = begun.snapshot if begun is not None and under_way(since) else now
            reached: Position = {"snapshot": kept.text, "identity": identity}
            reached |= part.position if part is not None else {}
            mark = hashlib.sha256(identity.encode()).hexdigest()[:8]
            version = f"lpad(to_hex({now.widened}), 16, '0') || '-{mark}'"
            return Extract(
                self._chunks(stack.pop_all(), stream, described, Asked(where, version)),
                reached,
                expected,
                compare=self._compare(since, begun, now),
                more=under_way(reached),
            )

    def pending(self, since: Position | None) -> bool:
        """Whether a row was written since: a look at the whole table, unless no transaction has ended since."""
        address = self._address()
        begun = self._begun(since, address)
        if under_way(since):
            return True
        with closing(Stream(address)) as stream:
            now = Snapshot.parse(stream.text("select pg_current_snapshot()::text"))
            where = self._where(begun, now)
            if where is None:
                return False
            return stream.number(f"select exists (select xmin from {self._relation.sql} where {where})::int") == 1

    def _where(self, begun: _Begun | None, now: Snapshot) -> str | None:
        """The candidates in SQL; None where there can be none."""
        if begun is None:
            return "true"
        if begun.snapshot.text == now.text:
            return None
        return f"{now.widened} >= {now.floor_since(begun.snapshot)}"

    def _compare(self, since: Position | None, begun: _Begun | None, now: Snapshot) -> Compare | None:
        if begun is None or under_way(since):
            return compare_all(self._table, since)
        # By the low 32 bits and the mark: the upper ones of a frozen row are a guess that changes with time.
        floor = None if now.wrapped else f"_source_version >= '{now.floor_since(begun.snapshot):016x}'"
        return Compare(self._table.primary_key, version='right("_source_version", 17)', where=floor)

    def _begun(self, since: Position | None, address: Address) -> _Begun | None:
        if since is None:
            return None
        try:
            return _Begun(Snapshot.parse(str(since["snapshot"])), str(since["identity"]))
        except (KeyError, ValueError):
            raise self._wrong_position(address, "a snapshot", since) from None

    def _identity(self, stream: Stream) -> str:
        return stream.text(_IDENTITY.format(relation=literal(self._relation.sql)))

    def _require_same(self, begun: _Begun | None, identity: str, address: Address) -> None:
        if begun is not None and begun.identity != identity:
            raise SourceChanged(
                f"{address}: {self._relation} is not the table that {self._table.name} was loaded from (the server was"
                " replaced, restored or promoted, or the table made anew), so its transactions have other numbers",
                expected=begun.identity,
                found=f"{identity} (system/timeline/database/table)",
                remedy=f"Read all of it once: `lakehouse load run {self._table.name} --full`.",
            )

    def _require_table(self, stored: Storage, address: Address) -> None:
        kind = _KINDS.get(stored.kind, "a table that others inherit from" if stored.inherited else None)
        if kind is not None:
            # A partition that is attached brings old rows, which no transaction of today has written.
            raise SourceChanged(
                f"{address}: {self._relation} cannot be read by xmin",
                expected="a plain table",
                found=kind,
                remedy=f"Name a column as `watermark` in {self._table.file}, or `full`.",
            )
