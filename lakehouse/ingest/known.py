"""Rows that bronze has already, told by their content, when days of a source or all of it are read again.

Rows are compared by all columns of the contract, NULL as a value, and as a multiset: what the source has twice and
bronze once is added once. They wait on disk, so that memory stays bounded. Which rows of bronze they are held against
is decided in `load.py`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import duckdb
import numpy as np
import pyarrow as pa

from lakehouse.errors import CatalogError
from lakehouse.iceberg import LakeTable
from lakehouse.iceberg.duck import OPTIONS, prepare
from lakehouse.settings import Settings
from lakehouse.storage import no_room
from lakehouse.storage.spill import spill_folder
from lakehouse.tables import Table
from lakehouse.tables.sql import literal, quote

_LIMITS: dict[str, str | bool | int | float | list[str]] = {"memory_limit": "100MB", "threads": 1}
_NO_ROOM = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS))
_ROWS = "rows.arrow"
_COPIES = """
create table seen as
select i.__place from (
  select *, row_number() over (partition by {columns} order by __place) as __copy
  from incoming where __digest in (select __digest from known)
) i join known k on {same} where i.__copy <= k.__copies
order by i.__place
"""


class Known(Protocol):
    """What a load's rows are held against. `seen` is, when `fresh` has ended, how many of them were there already."""

    seen: int

    def fresh(self, rows: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """Those of the rows that bronze does not have."""
        ...


class KnownContent:
    """Rows of main, all of them or those that a filter means, by their content. Made by `known_content`."""

    def __init__(
        self, table: Table, stored: LakeTable, where: str | None, connection: duckdb.DuckDBPyConnection, folder: Path
    ) -> None:
        self._stored, self._where, self._connection = stored, where, connection
        self._file, self._folder = folder / _ROWS, folder
        self._names = [column.name for column in table.columns]
        self._columns = ", ".join(quote(name) for name in self._names)
        self.seen = 0

    def fresh(self, rows: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """Those of the rows that bronze does not have, in their order; all are read before the first is handed on.

        Raises StateError when the disk is full, CatalogError.
        """
        with self._room():
            if not self._spool(rows):
                return
            self._compare()
            yield from self._rest()

    def _spool(self, rows: Iterator[pa.Table]) -> int:
        """Rows as they are go into the file, their content into DuckDB; how many there are."""
        writer, place = None, 0
        try:
            for some in rows:
                if writer is None:
                    writer = pa.ipc.new_file(
                        str(self._file), some.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")
                    )
                writer.write_table(some)
                places = pa.array(np.arange(place, place + some.num_rows))
                self._connection.register("given", some.select(self._names).append_column("__place", places))
                hashed = f"select *, hash({self._columns}) as __digest from given"
                made = "insert into incoming" if place else "create or replace table incoming as"
                self._connection.execute(f"{made} {hashed}")
                self._connection.unregister("given")
                place += some.num_rows
        finally:
            if writer is not None:
                writer.close()
        return place

    def _compare(self) -> None:
        relation = f"(from {self._stored.relation_sql()}{f' where {self._where}' if self._where else ''})"
        self._connection.execute(
            f"create table known as select {self._columns}, __digest, count(*) as __copies"
            f" from (select {self._columns}, hash({self._columns}) as __digest from {relation})"
            " where __digest in (select __digest from incoming) group by all"
        )
        # The digest finds candidates; what is the same is told by the values.
        pairs = (f"i.{quote(name)} is not distinct from k.{quote(name)}" for name in self._names)
        same = " and ".join(("i.__digest = k.__digest", *pairs))
        self._connection.execute(_COPIES.format(columns=self._columns, same=same))
        ((self.seen,),) = self._connection.execute("select count(*) from seen").fetchall()

    def _rest(self) -> Iterator[pa.Table]:
        place = 0
        with pa.ipc.open_file(str(self._file)) as spooled:
            for number in range(spooled.num_record_batches):
                batch = spooled.get_batch(number)
                end = place + batch.num_rows
                known = self._connection.execute(
                    "select __place - $1 from seen where __place >= $1 and __place < $2", [place, end]
                ).fetchnumpy()
                keep = np.ones(batch.num_rows, dtype=bool)
                keep[next(iter(known.values())).astype(np.int64)] = False
                yield pa.Table.from_batches([batch.filter(pa.array(keep))])
                place = end

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            said = str(error).partition("\n")[0]
            # DuckDB takes what it cannot spill for want of memory.
            if isinstance(error, duckdb.OutOfMemoryException) or any(words in said for words in _NO_ROOM):
                raise no_room(OSError(said), self._folder) from error
            raise CatalogError(
                f"the warehouse failed while rows were compared with {self._stored.name}",
                found=said,
                remedy="Check the storage and load again.",
            ) from error


@contextmanager
def known_content(
    settings: Settings, table: Table, stored: LakeTable, *, where: str | None = None
) -> Iterator[KnownContent]:
    """What main has when the rows come to be compared, of the rows that `where` means (SQL; None: all)."""
    with (
        spill_folder(settings.state / "tmp") as folder,
        duckdb.connect(str(folder / "known.duckdb"), config=OPTIONS | _LIMITS) as connection,
    ):
        prepare(connection, settings)
        connection.execute(f"set temp_directory = {literal(str(folder))}")
        yield KnownContent(table, stored, where, connection, folder)
