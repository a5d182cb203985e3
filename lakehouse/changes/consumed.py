"""How far a daily table has followed each table that it reads: positions in the snapshots of the table itself.

They move with the rows, in the same commit (`advance.py`), so that branches, restores and expiry take them along. What
the distance to a table's head means for days is `days.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Self

from lakehouse.iceberg import MAIN, Lake, SnapshotInfo
from lakehouse.tables import Position, TableName, Window
from lakehouse.tables.window import spans

_SCOPE = "changes/"


@dataclass(frozen=True)
class Consumed:
    """All of an upstream up to `sequence` has reached the reader, but for the days `pending`.

    `sequence` is that of snapshot `snapshot_id`; both 0: the upstream had no rows yet. `pending`: the sequence number
    of the change that has not reached each day. `content_id`: the snapshot whose rows that one holds, where it is a
    compaction, which any later one tells too; None: its own.
    """

    sequence: int
    snapshot_id: int
    pending: Mapping[date, int] = field(default_factory=dict)
    content_id: int | None = None

    @classmethod
    def of(cls, snapshot: SnapshotInfo) -> Self:
        """All of what an upstream was at a snapshot."""
        other = snapshot.content_id if snapshot.content_id != snapshot.id else None
        return cls(snapshot.sequence_number, snapshot.id, content_id=other)


NOTHING = Consumed(0, 0)
"""Of an upstream that nobody has written to."""
UNKNOWN = Consumed(-1, -1)
"""Of an upstream that the reader says nothing about."""


def consumed(lake: Lake, name: TableName, branch: str = MAIN) -> dict[TableName, Consumed]:
    """How far a table has followed each upstream. Raises TableMissing, BranchMissing."""
    return followed(lake.table(name).positions(branch))


def followed(positions: Mapping[str, Position]) -> dict[TableName, Consumed]:
    """The positions of a table that are about its upstreams."""
    return {
        TableName.parse(scope.removeprefix(_SCOPE)): consumed_from(position)
        for scope, position in positions.items()
        if scope.startswith(_SCOPE)
    }


def built(head: SnapshotInfo | None, positions: Mapping[str, Position]) -> bool:
    """Whether a table was ever built: making its first branch gives it a snapshot with nothing in it."""
    return head is not None and (bool(positions) or head.summary.get("total-records") != "0")


def scope_of(upstream: TableName) -> str:
    """The scope of progress that says how far the upstream was followed."""
    return f"{_SCOPE}{upstream}"


def position_of(state: Consumed) -> Position:
    """As progress holds it: `{"sequence": 7, "snapshot": 123, "pending": [["2026-01-03", "2026-01-05", 7]]}`.

    Pending days are half-open spans, each with the number of its change. `"content": 122` only where it is another.
    """
    content = {} if state.content_id is None else {"content": state.content_id}
    pending = spans_by_number(state.pending)
    return {"sequence": state.sequence, "snapshot": state.snapshot_id, "pending": pending, **content}


def consumed_from(position: Position) -> Consumed:
    """What `position_of` made; of a release that knew no content, too."""
    told: dict[str, Any] = position
    content = told.get("content")
    return Consumed(
        int(told["sequence"]),
        int(told["snapshot"]),
        days_by_number(told["pending"]),
        None if content is None else int(content),
    )


def spans_by_number(days: Mapping[date, int]) -> list[list[str | int]]:
    """Days with a number each, as JSON: half-open spans of days of one number, in order."""
    found = [
        (window, number)
        for number in sorted(set(days.values()))
        for window in spans(day for day, of in days.items() if of == number)
    ]
    return [[str(window.start), str(window.end), number] for window, number in sorted(found)]


def days_by_number(told: list[list[Any]]) -> dict[date, int]:
    """What `spans_by_number` made."""
    return {
        day: int(number)
        for start, end, number in told
        for day in Window(date.fromisoformat(start), date.fromisoformat(end)).days
    }
