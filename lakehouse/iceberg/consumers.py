"""Who read which snapshots: what a model's SQL reads is kept in the summary of the snapshot that it wrote.

What a query reads is found in DuckDB's own syntax tree; views are followed to the tables below them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any

import duckdb

from lakehouse.errors import SnapshotMissing, TableMissing
from lakehouse.iceberg.commits.progress import MAIN, READ, READ_CONTENT
from lakehouse.iceberg.lake import Lake
from lakehouse.iceberg.reads.stats import SnapshotInfo
from lakehouse.iceberg.refs.restore import RestorePlan
from lakehouse.tables import Layer, TableName

_PINNED = re.compile(r"\(snapshot_from_id = CAST\((\d+) AS")
_LAYERS = {layer.value for layer in Layer}

Key = tuple[str, str]


def snapshots_read(connection: duckdb.DuckDBPyConnection, lake: Lake, sql: str) -> dict[TableName, int]:
    """The snapshots of the lake's tables that a SELECT reads on a connection where they are registered.

    Tables without a snapshot are left out. Raises duckdb.Error for SQL that is wrong.
    """
    made = connection.execute("SELECT schema_name, view_name, sql FROM duckdb_views() WHERE NOT internal").fetchall()
    pins = {(schema, name): found[1] for schema, name, text in made if (found := _PINNED.search(text))}
    saved = {(schema, name): text for schema, name, text in lake.views.all()}
    known = {*pins, *saved}
    waiting, seen = list(_tables(connection, sql, known)), set[Key]()
    while waiting:
        key = waiting.pop()
        if key not in seen and key in saved:
            waiting += _tables(connection, saved[key], known)
        seen.add(key)
    return {
        TableName(Layer(schema), name): int(pins[schema, name])
        for schema, name in sorted(seen & pins.keys())
        if schema in _LAYERS and (schema, name) not in saved
    }


def read_summary(read: Mapping[TableName, int]) -> dict[str, str]:
    """As a commit's summary holds it."""
    return {READ: _encoded(read)}


def content_summary(lake: Lake, read: Mapping[TableName, int]) -> dict[str, str]:
    """Beside it, of the snapshots that are compactions: whose rows they hold, which is known when they have expired.

    Nothing of one that has expired meanwhile. Raises CatalogError.
    """
    found: dict[TableName, int] = {}
    for name, snapshot_id in read.items():
        try:
            snapshot = lake.look(name).snapshot(snapshot_id)
        except (TableMissing, SnapshotMissing):
            continue
        if snapshot is not None and (content := snapshot.content_id) is not None and content != snapshot_id:
            found[name] = content
    return {READ_CONTENT: _encoded(found)} if found else {}


def read_by(lake: Lake, name: TableName, branch: str = MAIN) -> dict[TableName, int]:
    """What the newest model run on a branch of a table read. Raises TableMissing, BranchMissing."""
    return read_in(lake.look(name).snapshots(branch)) or {}


def read_in(snapshots: Iterable[SnapshotInfo]) -> dict[TableName, int] | None:
    """What the newest of these snapshots that a model run has made was computed from; None if none is one."""
    told = (snapshot.summary[READ] for snapshot in snapshots if READ in snapshot.summary)
    newest = next(told, None)
    return None if newest is None else _decoded(newest)


def content_read_in(snapshots: Iterable[SnapshotInfo]) -> dict[TableName, int]:
    """Whose rows those were that the newest of these model runs read (see `SnapshotInfo.content_id`)."""
    newest = next((snapshot.summary for snapshot in snapshots if READ in snapshot.summary), {})
    return {**_decoded(newest.get(READ, "{}")), **_decoded(newest.get(READ_CONTENT, "{}"))}


def consumers(lake: Lake, name: TableName) -> dict[TableName, frozenset[int]]:
    """The tables whose main was computed from a table, each with the snapshots of it that its history has read."""
    found: dict[TableName, frozenset[int]] = {}
    for other in lake.names():
        if other == name:
            continue
        summaries = (snapshot.summary for snapshot in lake.look(other).snapshots())
        read = (_decoded(summary[READ]).get(name) for summary in summaries if READ in summary)
        if ids := frozenset(snapshot_id for snapshot_id in read if snapshot_id is not None):
            found[other] = ids
    return found


class LastReads:
    """What the newest model run of each table read: every table is opened for it, once for one pass over many."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    @cached_property
    def by_table(self) -> Mapping[TableName, Mapping[TableName, int]]:
        """The snapshots that each table's main was computed from, as of the first time that this is asked."""
        return {name: read_by(self._lake, name) for name in self._lake.names()}


def held_for_consumers(
    lake: Lake, name: TableName, *, now: datetime, at_most: timedelta, reads: LastReads | None = None
) -> Mapping[TableName, int]:
    """The snapshot of a table that each of its consumers read last, while the consumer may still come for the rest.

    Who has not come `at_most` after the table moved on is not waited for any longer, nor is who read what main does not
    hold. `reads` (default: asked now) are those of the pass that this is part of. Raises TableMissing.
    """
    main = [(snapshot.id, snapshot.committed_at) for snapshot in lake.look(name).snapshots()]
    # When main went on from each of its snapshots; from the newest it has not.
    went_on = {older: at for (_, at), (older, _) in pairwise(main)}
    on_main = {snapshot_id for snapshot_id, _ in main}
    return {
        other: read
        for other, last in (reads or LastReads(lake)).by_table.items()
        if other != name and (read := last.get(name)) in on_main
        if now - went_on.get(read, now) <= at_most
    }


def downstream(lake: Lake, plan: RestorePlan) -> tuple[TableName, ...]:
    """The tables that have read what a restore undoes: they show what its table does not any more."""
    return tuple(other for other, ids in consumers(lake, plan.table).items() if ids & set(plan.undone))


def _tables(connection: duckdb.DuckDBPyConnection, sql: str, known: Iterable[Key]) -> Iterator[Key]:
    found = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    tree = json.loads(found[0]) if found else {"error": True}
    if not tree["error"]:
        yield from _base_tables(tree)
        return
    # DuckDB has no tree for some statements (PIVOT): then what is mentioned counts as read, a comment's word too.
    for schema, name in known:
        if re.search(rf'(?<!\w)"?{re.escape(schema)}"?\s*\.\s*"?{re.escape(name)}"?(?!\w)', sql):
            yield schema, name


def _base_tables(node: Any) -> Iterator[Key]:  # noqa: ANN401  (JSON)
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE" and node.get("schema_name"):
            yield node["schema_name"], node["table_name"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _base_tables(child)


def _encoded(snapshots: Mapping[TableName, int]) -> str:
    return json.dumps({str(name): snapshot_id for name, snapshot_id in sorted(snapshots.items())})


def _decoded(text: str) -> dict[TableName, int]:
    return {TableName.parse(name): int(snapshot_id) for name, snapshot_id in json.loads(text).items()}
