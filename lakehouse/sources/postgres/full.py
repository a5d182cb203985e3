"""The whole table at every load, for small ones: what changed is added, and what is gone is marked as deleted.

Load options: `watermark: full`. A row's version is a hash of its content. The position is when all of it was read and
what it was: `{"read_at": "<ISO time>", "rows": n, "digest": "<sum of the hashes>"}`. While the digest stays, there is
nothing to load. Views and foreign tables can be read so, and replicas.
"""

from __future__ import annotations

from contextlib import ExitStack, closing

from lakehouse.errors import ContractError
from lakehouse.settings import PostgresSource, Settings
from lakehouse.sources.postgres.connection import Stream, catalogue
from lakehouse.sources.postgres.reader import Asked, Described, PostgresReader
from lakehouse.sources.postgres.types import content_hash
from lakehouse.sources.reader import Compare, Extract
from lakehouse.tables import Position, Table

_NOTHING: Position = {"rows": 0, "digest": "0"}


class FullReader(PostgresReader):
    """Reads everything, when anything changed."""

    def __init__(self, settings: Settings, source: PostgresSource, table: Table) -> None:
        super().__init__(settings, source, table)
        columns = {column.name for column in table.source_columns}
        if not table.primary_key or not columns.issuperset(table.primary_key):
            raise ContractError(
                f"{table.file}: {table.name} is loaded in full and has no primary key of the source's columns",
                expected="one, by which rows are found that changed or are gone",
                found=", ".join(table.primary_key) or None,
                remedy="Mark the key's columns with `primaryKey: true`, or load by a watermark column.",
            )

    def read(self, since: Position | None) -> Extract | None:
        """All rows, in one repeatable-read snapshot; None if they are what they were.

        Without a position also when there are none: bronze may know of some from before.
        """
        address = self._address()
        with catalogue(address) as connection:
            described = self._describe(connection, address)
        with ExitStack() as stack:
            stream = stack.enter_context(closing(Stream(address)))
            now = self._digest(stream, described)
            if since is not None and now.items() <= since.items():
                return None
            # With the time: the same change, there and back again and there, is three loads.
            read_at = stream.text("select to_json(clock_timestamp())#>>'{}'")
            asked = Asked("true", content_hash([*described.declared, *described.extra]))
            return Extract(
                self._chunks(stack.pop_all(), stream, described, asked),
                {"read_at": read_at, **now},
                int(str(now["rows"])),
                compare=Compare(self._table.primary_key, version='"_source_version"', latest=True, deletions=True),
            )

    def pending(self, since: Position | None) -> bool:
        """Whether the table is not what it was: all of it is looked at."""
        address = self._address()
        with catalogue(address) as connection:
            described = self._describe(connection, address)
        with closing(Stream(address)) as stream:
            now = self._digest(stream, described)
        return not now.items() <= (_NOTHING if since is None else since).items()

    def _digest(self, stream: Stream, described: Described) -> Position:
        """How many rows there are, and a sum over them that changes with any of them, whatever their order."""
        hashed = content_hash([*described.declared, *described.extra])
        found = stream.text(
            f"select count(*) || ' ' || coalesce(sum(('x' || left(hash, 16))::bit(64)::bigint::numeric), 0)"
            f" from (select {hashed} as hash from {self._relation.sql}) hashed"
        )
        rows, digest = found.split(" ")
        return {"rows": int(rows), "digest": digest}
