"""How far a reader has come once a build is committed: the positions that go into the commit of its rows.

Pure reading: the commit itself is the caller's (`transform/`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date

import duckdb

from lakehouse.changes.consumed import NOTHING, Consumed, built, followed, position_of, scope_of
from lakehouse.changes.days import Every, days_touched
from lakehouse.changes.edges import Edge
from lakehouse.changes.every import every_day
from lakehouse.errors import BranchMissing, TableMissing
from lakehouse.iceberg import MAIN, Lake, SnapshotInfo, snapshots_read
from lakehouse.tables import Position, Reach, TableName, Window
from lakehouse.tables.sql import quote

Positions = dict[str, Position]


def advanced(  # noqa: PLR0913  (what a build was, each once)
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    edges: Sequence[Edge],
    *,
    window: Window | Iterable[Window] | None,
    read: Mapping[TableName, int],
    branch: str = MAIN,
) -> tuple[Positions, dict[str, Position | None]]:
    """Progress, and expected progress, of a commit to a branch that replaces these days (None: all) of one reader.

    `edges` are all of the reader's, `read` the snapshots that its rows come from; on the connection its upstreams are
    registered as they were read. Days that an upstream changed, and that this build did not compute, stay pending. A
    table that is built for the first time has none: what was never built is not out of date.
    Raises TransformError for SQL of `follows` that fails, SnapshotMissing, CatalogError.
    """
    progress: Positions = {}
    expected: dict[str, Position | None] = {}
    if not (asked := [edge for edge in edges if edge.reach is not Reach.NONE]):
        return progress, expected
    was_built, before = _progress(lake, edges[0].reader, branch)
    was = followed(before)
    days = None if window is None else _days([window] if isinstance(window, Window) else window)
    for edge in asked:
        snapshot = _snapshot(lake, connection, edge.upstream, read)
        now = Consumed.of(snapshot) if snapshot else NOTHING
        if days is not None:
            past = was.get(edge.upstream) if was_built else now
            now = _followed(lake, connection, edges, edge, past, now, days)
        scope = scope_of(edge.upstream)
        progress[scope], expected[scope] = position_of(now), before.get(scope)
    return progress, expected


def _followed(  # noqa: PLR0913, PLR0917  (the state before, after, and of the build)
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    edges: Sequence[Edge],
    edge: Edge,
    was: Consumed | None,
    now: Consumed,
    days: frozenset[date],
) -> Consumed:
    """The position after these days were computed from `now`, while all others are as of `was` (None: not known)."""

    def every(sequence: int) -> dict[date, int]:
        return every_day(lambda name: lake.look(name).days(), edges, sequence)

    def spelled(found: Mapping[date, int] | Every) -> Mapping[date, int]:
        return every(found.sequence) if isinstance(found, Every) else found

    def left(pending: Mapping[date, int]) -> dict[date, int]:
        return {day: number for day, number in pending.items() if day not in days}

    if was is None:
        return replace(now, pending=left(every(now.sequence)))
    if now.sequence < was.sequence and _on_main(lake, edge.upstream, was):
        # Another build was faster with a later state: these days are behind it, all others are not.
        found = spelled(days_touched(lake, connection, edge, now, until=was.snapshot_id))
        behind = {day: number for day, number in found.items() if day in days}
        return replace(was, pending={**left(was.pending), **behind})
    # Without a snapshot it was dropped, or is as empty as it was.
    found = spelled(days_touched(lake, connection, edge, was, until=now.snapshot_id)) if now.snapshot_id else {}
    return replace(now, pending=left({**was.pending, **found}))


def _progress(lake: Lake, reader: TableName, branch: str) -> tuple[bool, Mapping[str, Position]]:
    """Whether the reader was ever built, and its positions: on main while it has no such branch."""
    try:
        table = lake.look(reader)
    except TableMissing:
        return False, {}
    try:
        head, positions = table.snapshot(branch), table.positions(branch)
    except BranchMissing:
        head, positions = table.snapshot(), table.positions()
    return built(head, positions), positions


def _snapshot(
    lake: Lake, connection: duckdb.DuckDBPyConnection, upstream: TableName, read: Mapping[TableName, int]
) -> SnapshotInfo | None:
    """The state of an upstream that a build saw; None before its first row.

    Where its SQL does not read it after all, that is what it would have read.
    """
    found = read.get(upstream)
    if found is None:
        relation = f"{quote(upstream.layer.value)}.{quote(upstream.table)}"
        with connection.cursor() as cursor:
            found = snapshots_read(cursor, lake, f"select * from {relation}").get(upstream)
    return None if found is None else lake.look(upstream).snapshot(found)


def _on_main(lake: Lake, upstream: TableName, state: Consumed) -> bool:
    return any(snapshot.id == state.snapshot_id for snapshot in lake.look(upstream).snapshots())


def _days(windows: Iterable[Window]) -> frozenset[date]:
    return frozenset(day for window in windows for day in window.days)
