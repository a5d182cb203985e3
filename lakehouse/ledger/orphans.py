"""`ops.orphans`: files that nothing names as they were sighted and as they were removed, one append a sweep.

It is both a record of what was deleted and the memory between two sweeps of a table. When a sighted file may go is
decided in `upkeep/orphans.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from tempfile import TemporaryFile
from typing import Self

import pyarrow as pa

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


class OrphanLog:
    """What one sweep sights and removes: beside the lake, in a file without a name, until `record` adds it."""

    def __init__(self) -> None:
        self._schema = arrow_schema(ORPHANS.columns)
        self._entries: list[dict[str, object]] = []
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
        # Not `asdict`: it copies every value, which takes longer than all the rest of a sweep.
        self._entries.append({**vars(entry), "table_name": str(entry.table)})
        if len(self._entries) >= _TOGETHER:
            self._put_down()

    def record(self, lake: Lake, *, run_key: str) -> None:
        """Add the entries in one snapshot, at the end; none of them: no commit. Makes the table on demand."""
        if self._entries:
            self._put_down()
        self._stream.close()
        self._file.seek(0)
        if self._any:
            lake.create(ORPHANS).append(pa.ipc.open_stream(self._file), run_key=run_key)

    def _put_down(self) -> None:
        self._stream.write_batch(pa.RecordBatch.from_pylist(self._entries, schema=self._schema))
        self._entries, self._any = [], True


def sightings(lake: Lake, name: TableName) -> Iterator[OrphanRecord]:
    """What earlier sweeps of a table sighted, in no order; few of them in memory at once. Raises CatalogError."""
    if not lake.exists(ORPHANS.name):
        return
    # A name is letters, digits and underscores: nothing of it ends the text.
    rows = lake.table(ORPHANS.name).scan(where=f"table_name = '{name}' and removed_at is null")
    for batch in rows:
        for start in range(0, batch.num_rows, _TOGETHER):
            for row in batch.slice(start, _TOGETHER).to_pylist():
                del row["table_name"]
                yield OrphanRecord(table=name, **row)
