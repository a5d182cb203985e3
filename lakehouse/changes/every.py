"""Every day of a reader, spelled out: the days that it holds, or that a table of the same days holds.

Days of neither were never there, or are asked for by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from typing import TypeAlias

from lakehouse.changes.edges import Edge
from lakehouse.errors import CommitError, TableMissing
from lakehouse.tables import Reach, TableName

DaysOf: TypeAlias = Callable[[TableName], Iterable[date]]
"""The days that a table holds. Raises TableMissing, CommitError for a table without a window column."""


def every_day(days_of: DaysOf, edges: Iterable[Edge], sequence: int) -> dict[date, int]:
    """The days of the reader of these edges, in order, all with one number. Raises what else `days_of` raises."""
    found: set[date] = set()
    for edge in edges:
        for name in (edge.reader, *((edge.upstream,) if edge.reach is Reach.SAME_DAY else ())):
            try:
                found.update(day for day in days_of(name) if edge.start is None or day >= edge.start)
            except (TableMissing, CommitError):
                # Not there, or from before its contract had a window: nothing of it has days yet.
                continue
    return dict.fromkeys(sorted(found), sequence)
