"""Which days of a daily table a change in a table that it reads touches: from the contracts alone.

Nothing is read here. Which days those are of a given change is `days.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from lakehouse.contracts import Declarations
from lakehouse.tables import Reach, Table, TableName
from lakehouse.tables.sql import quote

CHANGES = "changes"
"""What the SQL of an edge calls the changed rows of its upstream, before and after."""


@dataclass(frozen=True)
class Edge:
    """How a reader depends on an upstream.

    `sql`, where there is one, is a SELECT of one column of days over the relation `changes` and `tables`. No day before
    `start` is the reader's. `assumed`: nobody has said anything, and nothing can be told from the contracts.
    """

    reader: TableName
    upstream: TableName
    reach: Reach
    sql: str = ""
    tables: tuple[TableName, ...] = ()
    start: date | None = None
    assumed: bool = False


def edges_of(reader: Table, parents: Iterable[TableName], declarations: Declarations) -> tuple[Edge, ...]:
    """What a reader depends on, by the name of the upstream. `parents` are the tables that its model reads.

    What the contract states counts. Else: an upstream with a window column of the same name reaches the same day; one
    that has the primary key of such a table, the days of the rows with its keys; any other, every day, and nothing
    reaches from the reader itself.
    """
    upstreams = sorted(set(parents))
    known = [declarations[name] for name in upstreams if name in declarations and name != reader.name]
    same_day = [table for table in known if table.window_column == reader.window_column]
    stated = {follow.table: follow for follow in reader.follows}
    edges: list[Edge] = []
    for name in upstreams:
        if name in stated:
            follow = stated[name]
            edges.append(Edge(reader.name, name, follow.reach, follow.sql, follow.reads, reader.window_start))
        elif name == reader.name:
            edges.append(Edge(reader.name, name, Reach.NONE, start=reader.window_start))
        elif name in {table.name for table in same_day}:
            edges.append(Edge(reader.name, name, Reach.SAME_DAY, start=reader.window_start))
        else:
            edges.append(_by_key(reader, name, same_day, declarations))
    return tuple(edges)


def unstated(declarations: Declarations, parents: Mapping[TableName, frozenset[TableName]]) -> tuple[Edge, ...]:
    """The edges of which nobody has said which days they reach, by reader and upstream: each change is every day's."""
    readers = [table for table in declarations.values() if table.follows_by_days and table.name in parents]
    edges = (edge for table in readers for edge in edges_of(table, parents[table.name], declarations))
    return tuple(edge for edge in edges if edge.assumed)


def unread(declarations: Declarations, parents: Mapping[TableName, frozenset[TableName]]) -> tuple[Edge, ...]:
    """What contracts say about tables that the model does not read: nothing comes of it."""
    return tuple(
        Edge(table.name, follow.table, follow.reach, follow.sql, follow.reads, table.window_start)
        for table in declarations.values()
        if table.name in parents
        for follow in table.follows
        if follow.table not in parents[table.name]
    )


def _by_key(reader: Table, upstream: TableName, same_day: Iterable[Table], declarations: Declarations) -> Edge:
    with_keys = [] if upstream not in declarations else list(_with_keys(declarations[upstream], same_day))
    if not with_keys:
        return Edge(reader.name, upstream, Reach.EVERY, start=reader.window_start, assumed=True)
    # Through any of them may rows of the upstream come.
    sql = " union ".join(map(_days_by_key, with_keys))
    return Edge(reader.name, upstream, Reach.BY_KEY, sql, tuple(table.name for table in with_keys), reader.window_start)


def _with_keys(upstream: Table, same_day: Iterable[Table]) -> Iterator[Table]:
    """The tables of which the upstream has all key columns, in the same types."""
    types = {column.name: column.type for column in upstream.stored_columns}
    for table in same_day:
        key = table.primary_key
        if key and all(types.get(name) == table.column(name).type for name in key):
            yield table


def _days_by_key(table: Table) -> str:
    relation = f"{quote(table.name.layer.value)}.{quote(table.name.table)}"
    return (
        f"select cast({quote(table.window_column or '')} as date) from {relation}"
        f" join (select distinct {', '.join(map(quote, table.primary_key))} from {CHANGES}) as changed"
        f" using ({', '.join(map(quote, table.primary_key))})"
    )
