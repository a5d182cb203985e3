"""Which rows of an extract bronze has already, and which keys of bronze the source no longer has.

What makes two rows the same is stated by a `Compare`. The rows wait on disk until one join of their digests with those
of bronze's has told which of them are new: so time is linear and memory bounded, however many they are. Records that
were rejected before are `quarantine.py`'s.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from lakehouse.errors import CatalogError
from lakehouse.iceberg import LakeTable, arrow_schema
from lakehouse.iceberg.duck import OPTIONS, prepare
from lakehouse.ingest.casts import exact_cast
from lakehouse.settings import Settings
from lakehouse.sources import Chunk, Compare
from lakehouse.storage import no_room
from lakehouse.storage.spill import spill_folder
from lakehouse.tables import DELETED, Table
from lakehouse.tables.sql import quote

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    **OPTIONS,
    "memory_limit": "100MB",
    "preserve_insertion_order": False,
    "threads": 1,
}
_NO_ROOM = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS))
_AT = "_extracted_at"
_BATCH_ROWS = 65_536
_TABLES = """
CREATE TABLE present (key UHUGEINT);
CREATE TABLE incoming (place BIGINT, content UHUGEINT);
"""
_NEWEST = """
CREATE TABLE newest AS
FROM known SEMI JOIN (SELECT key, max(moment) AS moment FROM known GROUP BY key) latest USING (key, moment);
DROP TABLE known;
ALTER TABLE newest RENAME TO known;
"""
_SEEN = """
CREATE TABLE seen AS
SELECT place FROM incoming SEMI JOIN (FROM known WHERE NOT deleted) had USING (content) ORDER BY place
"""
# What the source has twice and bronze once is added once.
_SEEN_AS_OFTEN = """
CREATE TABLE seen AS
SELECT place FROM (
    SELECT *, row_number() OVER (PARTITION BY content ORDER BY place) AS copy
    FROM incoming SEMI JOIN known USING (content)
) came
JOIN (SELECT content, count(*) AS copies FROM known GROUP BY content) had USING (content)
WHERE copy <= copies ORDER BY place
"""
# Names that no column of a contract may have: they stand beside those of the rows.
_PLACE = "__place"
_GONE = """
CREATE TABLE gone AS
SELECT key AS __key, moment AS __moment FROM known ANTI JOIN present USING (key) WHERE NOT deleted
"""


class Seen:
    """What bronze has when all rows of an extract were read. Made by `comparing`.

    When `fresh` has ended, `count` is how many of them were there already, and `gone` how many of bronze's `keys` the
    source no longer has; 0 of 0 where it does not hand over all there is.
    """

    def __init__(
        self, target: LakeTable, table: Table, compare: Compare, connection: duckdb.DuckDBPyConnection, folder: Path
    ) -> None:
        self._target, self._table, self._compare = target, table, compare
        self._connection, self._folder = connection, folder
        self._schema: pa.Schema = arrow_schema(table.stored_columns)
        names = ["_source_version"] if compare.version else [column.name for column in table.source_columns]
        self._columns = list(dict.fromkeys([*compare.key, *names]))
        key = [quote(name) for name in compare.key]
        self._key = _digest(key) if key else "NULL"
        self._content = _digest([*key, compare.version] if compare.version else [quote(one) for one in self._columns])
        self.count = self.keys = self.gone = 0
        connection.execute(_TABLES)

    def fresh(self, rows: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """Those of the rows that bronze does not have, in their order; all are read before the first is handed on.

        Where bronze has none that could be meant, they are handed on as they come. Raises StateError when the disk is
        full, CatalogError.
        """
        if not self._anything:
            yield from rows
            return
        spooled = self._folder / "rows.arrow"
        with self._room():
            self._spool(rows, spooled)
            self._compare_all()
            if spooled.exists():
                yield from self._rest(spooled)

    def keep_keys(self, chunk: Chunk) -> None:
        """Remember the keys that the source has, also those of rows that break the contract."""
        if not self._compare.deletions or not self._anything or not chunk.rows.num_rows:
            return
        raw = chunk.rows.select(list(self._compare.key))
        self._connection.register("raw", raw)
        given = {str(row[0]): str(row[1]) for row in self._connection.execute("DESCRIBE FROM raw").fetchall()}
        values = []
        for name in self._compare.key:
            same = raw.schema.field(name).type == self._schema.field(name).type
            cast = exact_cast(f"raw.{quote(name)}", given[name], self._table.column(name).type, same=same)
            values.append(f"{cast.value or f'raw.{quote(name)}'} AS {quote(name)}")
        with self._room():
            self._connection.execute(
                f"INSERT INTO present SELECT {self._key} FROM (SELECT {', '.join(values)} FROM raw)"
            )
        self._connection.unregister("raw")

    def deleted(self, extracted_at: datetime, run_key: str) -> Iterator[pa.Table]:
        """For each key of bronze that no chunk had: its newest row, marked as deleted by this load."""
        if not self.gone:
            return
        with self._room():
            found = self._connection.execute(
                f"SELECT {', '.join(map(quote, self._schema.names))} FROM {self._relation} AS bronze"
                f" SEMI JOIN gone ON {self._key} = __key AND {_AT} = __moment"
            )
            for batch in found.to_arrow_reader(_BATCH_ROWS):
                yield self._marked(pa.Table.from_batches([batch]), extracted_at, run_key)

    @cached_property
    def _anything(self) -> bool:
        """Whether bronze has a row that could be meant, before the first is read."""
        found: int = self._target.scan(columns=[_AT], where=self._compare.where, limit=1).read_all().num_rows
        return found > 0

    @cached_property
    def _relation(self) -> str:
        """Main in SQL, as it is when all rows of the extract were read."""
        return self._target.relation_sql()

    def _spool(self, rows: Iterator[pa.Table], file: Path) -> None:
        """Rows as they are go into the file, their digests into DuckDB."""
        writer, place = None, 0
        try:
            for some in rows:
                if writer is None:
                    lz4 = pa.ipc.IpcWriteOptions(compression="lz4")
                    writer = pa.ipc.new_file(str(file), some.schema, options=lz4)
                writer.write_table(some)
                places = pa.array(np.arange(place, place + some.num_rows))
                self._connection.register("given", some.select(self._columns).append_column(_PLACE, places))
                self._connection.execute(f"INSERT INTO incoming SELECT {_PLACE}, {self._content} FROM given")
                self._connection.unregister("given")
                place += some.num_rows
        finally:
            if writer is not None:
                writer.close()

    def _compare_all(self) -> None:
        deleted = f"coalesce({DELETED.name}, false)" if self._compare.deletions else "false"
        where = f" WHERE {self._compare.where}" if self._compare.where else ""
        self._connection.execute(
            f"CREATE TABLE known AS SELECT {self._content} AS content, {self._key} AS key, {_AT} AS moment,"
            f" {deleted} AS deleted FROM {self._relation}{where}"
        )
        if self._compare.latest:
            self._connection.execute(_NEWEST)
        self._connection.execute(_SEEN if self._compare.key else _SEEN_AS_OFTEN)
        self.count = self._number("SELECT count(*) FROM seen")
        if self._compare.deletions:
            self._connection.execute(_GONE)
            self.gone = self._number("SELECT count(*) FROM gone")
            self.keys = self._number("SELECT count(*) FROM known WHERE NOT deleted")

    def _rest(self, file: Path) -> Iterator[pa.Table]:
        place = 0
        with pa.ipc.open_file(str(file)) as spooled:
            for number in range(spooled.num_record_batches):
                batch = spooled.get_batch(number)
                end = place + batch.num_rows
                asked = self._connection.execute(
                    "SELECT place - $1 AS place FROM seen WHERE place >= $1 AND place < $2", [place, end]
                )
                keep = np.ones(batch.num_rows, dtype=bool)
                keep[asked.fetchnumpy()["place"]] = False
                yield pa.Table.from_batches([batch.filter(pa.array(keep))])
                place = end

    def _number(self, sql: str) -> int:
        return int(self._connection.execute(sql).fetchall()[0][0])

    def _marked(self, rows: pa.Table, extracted_at: datetime, run_key: str) -> pa.Table:
        new = {_AT: extracted_at, "_run_key": run_key, DELETED.name: True}
        columns = [
            pa.repeat(pa.scalar(new[field.name], field.type), rows.num_rows)
            if field.name in new
            else rows.column(field.name).cast(field.type)
            for field in self._schema
        ]
        return pa.table(columns, schema=self._schema)

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            said = str(error).partition("\n")[0]
            # DuckDB takes what it cannot put on the disk for want of memory.
            if isinstance(error, duckdb.OutOfMemoryException) or any(words in said for words in _NO_ROOM):
                raise no_room(OSError(said), self._folder) from error
            raise CatalogError(
                f"the warehouse failed while rows were compared with {self._target.name}",
                found=said,
                remedy="Check the storage and load again.",
            ) from error


@contextmanager
def comparing(settings: Settings, table: Table, target: LakeTable, compare: Compare | None) -> Iterator[Seen | None]:
    """A comparison with a table's rows, on the disk of the state folder until its end; None if there is none."""
    if compare is None:
        yield None
        return
    with (
        spill_folder(settings.state / "tmp") as folder,
        # In a file: tables in memory are not put on the disk while they grow.
        duckdb.connect(str(folder / "digests.duckdb"), config=_CONFIG) as connection,
    ):
        prepare(connection, settings)
        # UUIDs leave as such, not as text.
        connection.execute("SET arrow_lossless_conversion = true")
        yield Seen(target, table, compare, connection, folder)


def _digest(values: Sequence[str]) -> str:
    """SQL of a digest of values: of texts with their lengths, so that no two rows are alike by how they are joined."""
    texts = (f"coalesce(strlen(CAST({value} AS VARCHAR)) || ':' || CAST({value} AS VARCHAR), '-')" for value in values)
    return f"md5_number(concat({', '.join(texts)}))"
