"""Rejected records: the table they wait in, and how they get there exactly once.

A record is known by its `reject_id`, a hash of where it came from and of what it was; a load that is run again finds
those that are there and adds only the others. What is wrong with a record is decided in `door.py`.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO

import duckdb
import pyarrow as pa

from lakehouse.iceberg import Lake, arrow_schema
from lakehouse.tables import Column, Layer, Table, TableName

_EXAMPLES = 10
"""So many records that break a rule are kept to be shown."""


class State(StrEnum):
    """What became of a rejected record."""

    OPEN = "open"
    """Its load was published without it."""
    HELD = "held"
    """Its load was not published at all."""


def quarantine_columns(*, personal: bool) -> tuple[Column, ...]:
    """The columns of every quarantine table; `personal` says that payloads may hold personal data."""
    return (
        Column("reject_id", "string", required=True, description="Hash of the record's coordinates and payload"),
        Column("table_name", "string", required=True, description="The bronze table that the record was meant for"),
        Column(
            "payload",
            "string",
            required=True,
            personal=personal,
            description="The record as it came: its original text, or a JSON object of its values as texts",
        ),
        Column("broken_rules", "string", required=True, description="JSON list of the names of the broken rules"),
        Column("found", "string", personal=personal, description="JSON object of the values that broke them"),
        Column("source", "string", required=True, description="System, table or file, and position"),
        Column("error", "string", required=True, description="What is wrong, in words"),
        Column("run_key", "string", required=True, description="Key of the load that met it first"),
        Column("extracted_at", "timestamptz", required=True, description="When that load began (UTC)"),
        Column(
            "state", "string", required=True, description="open: its load went on; held: its load published nothing"
        ),
    )


QUARANTINE_SCHEMA: pa.Schema = arrow_schema(quarantine_columns(personal=False))
"""The Arrow schema of rejected records."""


def quarantine_table(table: Table) -> Table:
    """Where the rejected records of a bronze table wait: `quarantine.<domain>_<table>`."""
    return Table(
        name=TableName(Layer.QUARANTINE, f"{table.domain}_{table.name.table}"),
        domain=table.domain,
        description=f"Records that broke the contract of {table.name}.",
        columns=quarantine_columns(personal=bool(table.personal_columns)),
        file=table.file,
        owners=table.owners,
        primary_key=("reject_id",),
    )


def reject_id(source: str, payload: bytes) -> str:
    """The identity of a rejected record: 64 hex digits of SHA-256."""
    return hashlib.sha256(source.encode() + b"\0" + payload).hexdigest()


@dataclass
class Broken:
    """How many of a load's records broke one rule, and some of them: where each came from, and the values at fault."""

    rows: int = 0
    examples: list[Mapping[str, str | None]] = field(default_factory=list)

    def add(self, source: str, found: str | None) -> None:
        """Count one record; `found` is its JSON object of values."""
        self.rows += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append({"_source": source, **json.loads(found or "{}")})


@dataclass(frozen=True)
class Stored:
    """How many rejected records were added, and how many were there already (or came twice)."""

    added: int
    seen: int


class Rejects:
    """The rejected records of one load, on disk until its end. Made by `collecting`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._writer: pa.RecordBatchStreamWriter | None = None
        self.count = 0
        self.by_rule: dict[str, Broken] = {}

    def add(self, rejected: pa.Table) -> None:
        """Keep these, which have the schema of quarantine tables."""
        if not rejected.num_rows:
            return
        if self._writer is None:
            self._writer = pa.ipc.new_stream(self._file, QUARANTINE_SCHEMA)
        self._writer.write_table(rejected)
        self.count += rejected.num_rows
        columns = (rejected.column(name).to_pylist() for name in ("broken_rules", "source", "found"))
        for rules, source, found in zip(*columns, strict=True):
            for rule in json.loads(rules):
                self.by_rule.setdefault(rule, Broken()).add(source, found)

    def store(self, lake: Lake, table: Table, state: State, run_key: str) -> Stored:
        """Add those that the quarantine does not have yet, in one commit; none if there are none."""
        if self._writer is None:
            return Stored(0, 0)
        self._writer.close()
        target = lake.create(quarantine_table(table))
        with duckdb.connect(":memory:") as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("known", target.scan(columns=["reject_id"]))
            connection.execute("CREATE TEMP TABLE known_ids AS SELECT reject_id FROM known")
            self._file.seek(0)
            connection.register("collected", pa.ipc.open_stream(self._file))
            connection.execute(
                "CREATE TEMP TABLE fresh AS SELECT DISTINCT ON (reject_id) * REPLACE (? AS state) FROM collected"
                " WHERE reject_id NOT IN (SELECT reject_id FROM known_ids)",
                [state.value],
            )
            self._file.seek(0)
            connection.register("again", pa.ipc.open_stream(self._file))
            connection.execute("CREATE TEMP TABLE ids AS SELECT reject_id, count(*) AS n FROM again GROUP BY reject_id")
            # Counted by itself, not as what is left: the balance of a load compares what several places say.
            (seen,) = connection.execute(
                "SELECT coalesce(sum(if(k.reject_id IS NULL, i.n - 1, i.n)), 0)::BIGINT"
                " FROM ids i LEFT JOIN (SELECT DISTINCT reject_id FROM known_ids) k USING (reject_id)"
            ).fetchall()[0]
            added, mark = connection.execute(
                "SELECT count(*), md5(string_agg(reject_id, '' ORDER BY reject_id)) FROM fresh"
            ).fetchall()[0]
            if added:
                rows = connection.execute("FROM fresh").to_arrow_reader(65_536)
                # The key names the records, not only the load: run again under a mended contract, a load rejects
                # others.
                commit = target.append(rows, run_key=f"{run_key}-{mark}", summary={"lakehouse.load": run_key})
                added = commit.rows_added
        return Stored(added, seen)


@contextmanager
def collecting(folder: Path) -> Iterator[Rejects]:
    """A place for rejected records in a temporary file below `folder`, gone at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        yield Rejects(file)
