"""`ops.orphans`: files that nothing names as they were sighted and as they were removed, one append a sweep.

It is both a record of what was deleted and the memory between two sweeps of a table. When a sighted file may go is
decided in `upkeep/orphans.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from tempfile import TemporaryFile
from typing import NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.iceberg import Lake, arrow_schema
from lakehouse.ledger.entries import ledger_table
from lakehouse.tables import Column, Table, TableName

ORPHANS: Table = ledger_table(
    "orphans",
    "Files in folders of tables that nothing names: when each was first seen, and when it was removed.",
    (
        Column("table_name", "string", required=True, description="The table in whose folder it lies"),
        Column("path", "string", required=True, description="Where it is, as an absolute address"),
        Column("bytes", "long", required=True, description="Its size"),
        Column("modified_at", "timestamptz", required=True, description="When its content was written (UTC)"),
        Column("version", "string", required=True, description="What changes with its content: mtime in ns, or ETag"),
        Column("seen_at", "timestamptz", required=True, description="When the sweep of this entry looked (UTC)"),
        Column("removed_at", "timestamptz", description="When it was deleted (UTC); NULL in the entry of a sighting"),
        Column("run_id", "string", required=True, description="Dagster run, or who else ran it"),
    ),
    file=__file__,
)
_TOGETHER = 5000
"""Entries in memory at once."""
_SEEN = ("path", "bytes", "version")


@dataclass(frozen=True)
class OrphanRecord:
    """A file sighted; or removed, with `removed_at`. `path` absolute, `bytes` on disk, times in UTC."""

    table: TableName
    path: str
    bytes: int
    modified_at: datetime
    version: str
    seen_at: datetime
    removed_at: datetime | None
    run_id: str


class Sighting(NamedTuple):
    """A file as a sweep has seen it. `long_ago`: not after the time that was asked for."""

    path: str
    bytes: int
    version: str
    long_ago: bool


class OrphanLog:
    """What one sweep sights and removes: beside the lake, in a file without a name, until `record` adds it."""

    def __init__(self) -> None:
        self._schema = arrow_schema(ORPHANS.columns)
        # Column by column, which Arrow takes in several times as fast as rows.
        self._waiting: list[tuple[object, ...]] = []
        self._file = TemporaryFile()  # noqa: SIM115  (closed by __exit__)
        self._stream = pa.ipc.new_stream(self._file, self._schema)
        self._any = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stream.close()
        self._file.close()

    def add(self, entry: OrphanRecord) -> None:
        """Keep an entry for `record`."""
        self._waiting.append(_values(entry))
        if len(self._waiting) >= _TOGETHER:
            self._put_down()

    def record(self, lake: Lake, *, run_key: str) -> None:
        """Add the entries in one snapshot, at the end; none of them: no commit. Makes the table on demand."""
        if self._waiting:
            self._put_down()
        self._stream.close()
        self._file.seek(0)
        if self._any:
            lake.create(ORPHANS).append(pa.ipc.open_stream(self._file), run_key=run_key)

    def _put_down(self) -> None:
        columns = zip(*self._waiting, strict=True)
        arrays = [pa.array(values, field.type) for values, field in zip(columns, self._schema, strict=True)]
        self._stream.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._waiting, self._any = [], True


def _values(entry: OrphanRecord) -> tuple[object, ...]:
    return (
        str(entry.table),
        entry.path,
        entry.bytes,
        entry.modified_at,
        entry.version,
        entry.seen_at,
        entry.removed_at,
        entry.run_id,
    )


def sightings(lake: Lake, name: TableName, *, until: datetime) -> Iterator[Sighting]:
    """What earlier sweeps of a table sighted, in no order; few of them in memory at once. Raises CatalogError."""
    if not lake.exists(ORPHANS.name):
        return
    # A name is letters, digits and underscores: nothing of it ends the text.
    where = f"table_name = '{name}' and removed_at is null"
    for batch in lake.table(ORPHANS.name).scan(columns=[*_SEEN, "seen_at"], where=where):
        for start in range(0, batch.num_rows, _TOGETHER):
            some = batch.slice(start, _TOGETHER)
            old = pc.less_equal(some["seen_at"], pa.scalar(until, some["seen_at"].type))
            yield from map(Sighting._make, zip(*(some[of].to_pylist() for of in _SEEN), old.to_pylist(), strict=True))
