"""The first load of a large table in parts: ranges of its blocks, one commit each, so that a kill costs one part.

The position of a part keeps the bound or snapshot that was taken before the first part, and how far the blocks are.
A row that moves meanwhile (an UPDATE writes it elsewhere) has changed after that bound: the next increment reads it.
PostgreSQL reads such a range without a look at the rest (TID range scan, since version 14).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lakehouse.errors import SourceChanged
from lakehouse.sources.postgres.catalog import Storage
from lakehouse.sources.reader import Compare
from lakehouse.tables import Position, Table

_FIRST = "first"
_MB = 1024 * 1024


@dataclass(frozen=True)
class Blocks:
    """One part: blocks from `start` to `end`, None for the table's end. `began` is as in `next_part`."""

    start: int
    end: int | None
    file: int
    began: str

    @property
    def where(self) -> str:
        """The part in SQL."""
        above = f"ctid >= '({self.start},0)'::tid"
        return above if self.end is None else f"{above} and ctid < '({self.end},0)'::tid"

    @property
    def position(self) -> Position:
        """What the position says of the way still to go; nothing after the last part."""
        if self.end is None:
            return {}
        return {_FIRST: {"block": self.end, "file": self.file, "began": self.began}}


def under_way(since: Position | None) -> bool:
    """Whether a position is one within a first load."""
    return since is not None and _FIRST in since


def next_part(
    since: Position | None, stored: Storage, megabytes: float, table: Table, opened_at: datetime
) -> Blocks | None:
    """The part to read now; None for a table that is not read in parts, or no longer.

    `opened_at` is when the source was opened, before the extraction time of any row that it hands over: what bronze has
    from before that time of the first part was there when the load of everything began. Raises SourceChanged when the
    table was written anew since the first part: its rows stand elsewhere now.
    """
    length = max(1, int(megabytes * _MB / stored.block_bytes)) if stored.block_bytes else 1
    if since is None:
        if stored.blocks <= length or stored.inherited:
            return None
        return Blocks(0, length, stored.file, opened_at.isoformat())
    state = since.get(_FIRST)
    if not isinstance(state, dict):
        return None
    if state["file"] != stored.file:
        raise SourceChanged(
            f"the source of {table.name} was written anew (VACUUM FULL, CLUSTER, TRUNCATE or ALTER TABLE)"
            " while its first load was under way",
            remedy=f"Begin anew: `lakehouse load run {table.name} --full`.",
        )
    start = int(state["block"])
    end = start + length
    return Blocks(start, None if end >= stored.blocks else end, stored.file, str(state["began"]))


def compare_all(table: Table, since: Position | None) -> Compare | None:
    """For a read of everything: rows that bronze holds as they are, for it may be the second such read.

    A first load compares with an empty table, at no cost. None for a table without a primary key.
    """
    if not table.primary_key:
        return None
    state = since.get(_FIRST) if since is not None else None
    where = f"_extracted_at < '{state['began']}'" if isinstance(state, dict) else None
    return Compare(table.primary_key, latest=True, where=where)
