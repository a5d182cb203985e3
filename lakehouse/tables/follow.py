"""How far a change in a table reaches into a daily table that reads it: which of its days are computed anew.

What a contract states about it is a Follow; which days that are of a given change is found in `changes/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lakehouse.tables.name import TableName


class Reach(StrEnum):
    """Which days of the reader a changed row touches."""

    SAME_DAY = "same day"
    """The row's own day: the reader's days are those of what it reads."""
    BY_KEY = "by key"
    """The days of the rows that have its key, in another table that the reader reads."""
    BY_SQL = "by SQL"
    """What a query answers."""
    EVERY = "every day"
    """All of them."""
    NONE = "none"
    """None: the reader may show what was there when a day was built."""


@dataclass(frozen=True)
class Follow:
    """What the contract of a daily table states about one table that its model reads.

    `sql`, for BY_SQL: a SELECT of one column of days over `changes`, the rows of `table` before and after, and the
    lake's tables, which `reads` names.
    """

    table: TableName
    reach: Reach
    sql: str = ""
    reads: tuple[TableName, ...] = ()
