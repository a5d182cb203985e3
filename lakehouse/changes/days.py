"""Which days of a reader an upstream's changes touch since the reader followed it.

From metadata where days are days, else from the changed rows. How far the reader has come is `consumed.py`, how it
depends on the upstream `edges.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

import duckdb
import pyarrow as pa
import structlog

from lakehouse.changes.consumed import Consumed
from lakehouse.changes.edges import CHANGES, Edge
from lakehouse.errors import CatalogError, CommitError, QueryError, SnapshotMissing, TableMissing, TransformError
from lakehouse.iceberg import CHANGE, MAIN, At, Lake, LakeTable
from lakehouse.tables import Reach

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Every:
    """Any day of the reader may be touched, by what changed up to a sequence number; and why no more is known."""

    sequence: int
    why: str


Days: TypeAlias = Mapping[date, int] | Every
"""Days, each with the sequence number of the upstream's change that touches it (its newest, or a later one)."""
Connect: TypeAlias = Callable[[], duckdb.DuckDBPyConnection]


def days_touched(
    lake: Lake, connection: duckdb.DuckDBPyConnection, edge: Edge, since: Consumed, *, until: int | None = None
) -> Days:
    """The days of the reader that changed after `since`, up to a snapshot of the upstream (default: what main shows).

    The tables of the edge's SQL are registered on the connection. What `since` itself has pending is not among them.
    Every day where it cannot be told any more, as when a snapshot has expired or the upstream was restored. Raises
    TransformError for SQL that fails, CatalogError.
    """
    try:
        upstream = lake.look(edge.upstream)
    except TableMissing:
        return {}
    return touched(upstream, lambda: connection, edge, since, MAIN if until is None else until)


def touched(upstream: LakeTable, connect: Connect, edge: Edge, since: Consumed, until: At = MAIN) -> Days:
    """As `days_touched`, of a table that was looked up. A connection is asked for only when rows have to be read."""
    sequence = since.sequence
    try:
        head = upstream.snapshot(until)
        if edge.reach is Reach.NONE or head is None or head.id == since.snapshot_id:
            return {}
        sequence = head.sequence_number
        since = still_there(upstream, since, until)
        if head.id == since.snapshot_id:
            return {}
        if edge.reach is Reach.EVERY:
            return Every(sequence, f"rows of {edge.upstream} changed") if _any_change(upstream, since, until) else {}
        if edge.reach is Reach.SAME_DAY:
            found = _same_day(upstream, since, until)
        else:
            found = dict.fromkeys(_looked_up(upstream, connect, edge, since, until), sequence)
    except (QueryError, CommitError) as error:
        # Expired, restored, or written by another program: who cannot tell takes every day.
        _log.info("every day counts as changed", table=str(edge.reader), upstream=str(edge.upstream), reason=str(error))
        return Every(sequence, error.what)
    return {day: number for day, number in found.items() if edge.start is None or day >= edge.start}


def still_there(upstream: LakeTable, since: Consumed, until: At) -> Consumed:
    """What was followed; if that has expired, the newest snapshot with the very same rows, as compaction leaves it."""
    line = upstream.ancestors(until) if since.snapshot_id else ()
    if any(snapshot.id == since.snapshot_id for snapshot in line):
        return since
    rows = since.content_id or since.snapshot_id
    return next((Consumed.of(snapshot) for snapshot in line if snapshot.content_id == rows), since)


def _same_day(upstream: LakeTable, since: Consumed, until: At) -> Mapping[date, int]:
    changed = upstream.changed_days(since.sequence, until=until)
    # From nothing, nothing can have been lost.
    if changed.complete or not since.sequence:
        return changed.sequences
    raise SnapshotMissing(
        f"snapshots of {upstream.name} since number {since.sequence} have expired, with days that may have gone",
        remedy="Take every day as changed once.",
    )


def _looked_up(upstream: LakeTable, connect: Connect, edge: Edge, since: Consumed, until: At) -> list[date]:
    """What the SQL of an edge answers for the changed rows."""
    with connect().cursor() as cursor:
        there = set(cursor.execute("select schema_name, view_name from duckdb_views() where not internal").fetchall())
        if missing := [str(name) for name in edge.tables if name.key not in there]:
            raise QueryError(f"there is no {', '.join(missing)} to look days up in", remedy="Materialize it.")
        _fill(cursor, upstream, since, until)
        return _ask(cursor, edge)


def _any_change(upstream: LakeTable, since: Consumed, until: At) -> bool:
    """Whether a row came or went. A compaction, or a table replaced by the very same rows, is no change."""
    if not since.snapshot_id:
        return bool(upstream.scan(at=until, limit=1).read_all().num_rows)
    with upstream.changes(since.snapshot_id, until=until) as changes:
        return any(changes.counts().values())


def _fill(cursor: duckdb.DuckDBPyConnection, upstream: LakeTable, since: Consumed, until: At) -> None:
    """The changed rows as a table that only this cursor sees; batch by batch, so that errors stay what they are."""
    if since.snapshot_id:
        with upstream.changes(since.snapshot_id, until=until) as changes:
            _insert(cursor, changes.rows())
        return
    rows = upstream.scan(at=until)
    schema = pa.schema([pa.field(CHANGE, pa.string(), nullable=False), *rows.schema])
    inserted = (
        pa.RecordBatch.from_arrays([pa.array(["insert"] * batch.num_rows, pa.string()), *batch.columns], schema=schema)
        for batch in rows
    )
    _insert(cursor, pa.RecordBatchReader.from_batches(schema, inserted))


def _insert(cursor: duckdb.DuckDBPyConnection, rows: pa.RecordBatchReader) -> None:
    cursor.register("changed_rows", rows.schema.empty_table())
    cursor.execute(f"create temp table {CHANGES} as from changed_rows")
    for batch in rows:
        cursor.register("changed_rows", pa.Table.from_batches([batch]))
        cursor.execute(f"insert into {CHANGES} from changed_rows")
    cursor.unregister("changed_rows")


def _ask(cursor: duckdb.DuckDBPyConnection, edge: Edge) -> list[date]:
    days = f"select distinct cast(day as date) as day from (\n{edge.sql}\n) as touched(day) where day is not null"
    try:
        return [day for (day,) in cursor.execute(f"{days} order by all").fetchall()]
    except duckdb.IOException as error:
        raise CatalogError(
            f"the tables that `follows` of {edge.reader} for {edge.upstream} names cannot be read",
            found=str(error).strip(),
            remedy="Look whether their storage answers, and ask again.",
        ) from None
    except duckdb.Error as error:
        raise TransformError(
            f"`follows` of {edge.reader} for {edge.upstream} fails",
            expected=f"one column of days over `{CHANGES}` and the lake's tables",
            found=str(error).strip(),
            remedy=f"Mend the SQL in the contract of {edge.reader}.",
        ) from None
