"""Which days of which daily tables are out of date, and because of what.

Told from the tables alone: nobody has to remember what was asked for. Models without windows are `models.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from lakehouse.changes.consumed import UNKNOWN, Consumed, built, followed
from lakehouse.changes.days import Every, touched
from lakehouse.changes.edges import Edge, edges_of
from lakehouse.changes.every import every_day
from lakehouse.changes.look import Look, Views
from lakehouse.changes.memory import Memory, Seen
from lakehouse.contracts import Declarations
from lakehouse.iceberg import Lake, SnapshotInfo
from lakehouse.settings import Settings
from lakehouse.tables import Reach, TableName

_NOTES = {
    Reach.SAME_DAY: "rows of the day changed",
    Reach.BY_KEY: "rows that belong to rows of the day changed",
    Reach.BY_SQL: "what changed touches the day, as the contract says",
}
_LEFT_OUT = "a build left the day out"

Noted = dict[date, tuple[int, str]]
"""Days with the number of the change that touches them, and why."""


@dataclass(frozen=True)
class Cause:
    """A change of an upstream that has not reached a day: its sequence number, and its snapshot unless that is gone.

    The same change has the same number however often one asks. `note` is for people.
    """

    upstream: TableName
    sequence: int
    snapshot_id: int | None
    note: str


@dataclass(frozen=True)
class Stale:
    """The days of a table that are out of date, in order, each with its causes by upstream."""

    table: TableName
    days: Mapping[date, tuple[Cause, ...]]


def stale_days(
    settings: Settings,
    lake: Lake,
    declarations: Declarations,
    parents: Mapping[TableName, frozenset[TableName]],
    *,
    known: Memory | None = None,
) -> dict[TableName, Stale]:
    """The daily tables that have days to be computed anew, by name. `parents`: the tables that each model reads.

    A table that was never built is not among them, nor is a day that neither it nor a change has ever had. A table that
    does not say how far it followed an upstream has followed nothing of it. With a memory, only what is new since is
    looked at; it is brought up to date. Raises TransformError for SQL of `follows` that fails, CatalogError.
    """
    memory = Memory() if known is None else known
    readers = [table for table in declarations.values() if table.follows_by_days and table.name in parents]
    edges = {table.name: edges_of(table, parents[table.name], declarations) for table in readers}
    memory.keep_only(edge for of in edges.values() for edge in of)
    look = Look(lake)
    with Views(settings, look) as views:
        found = [
            _Question(look, views, memory, [edge for edge in of if edge.reach is not Reach.NONE]).answer(name)
            for name, of in edges.items()
            if (head := look.head(name)) is not None and built(head, look.table(name).positions())
        ]
    return {stale.table: stale for stale in found if stale.days}


class _Question:
    """Which days of one reader are out of date."""

    def __init__(self, look: Look, views: Views, memory: Memory, edges: Sequence[Edge]) -> None:
        self._look, self._views, self._memory, self._edges = look, views, memory, edges

    def answer(self, name: TableName) -> Stale:
        positions = followed(self._look.table(name).positions())
        causes: dict[date, list[Cause]] = {}
        for edge in self._edges:
            was = positions.get(edge.upstream)
            head = self._look.head(edge.upstream)
            if head is not None and was is not None and head.sequence_number < was.sequence:
                # Restored; or published by the run that this reader was published by, after it was looked up here.
                head = self._look.again(edge.upstream)
            if head is not None:
                for day, (number, note) in self._of_edge(edge, was, head).items():
                    snapshot_id = self._look.snapshot_ids(edge.upstream).get(number)
                    causes.setdefault(day, []).append(Cause(edge.upstream, number, snapshot_id, note))
        return Stale(name, {day: tuple(causes[day]) for day in sorted(causes)})

    def _of_edge(self, edge: Edge, was: Consumed | None, head: SnapshotInfo) -> Noted:
        if was is None:
            seen = self._memory.recall(edge, UNKNOWN)
            if seen is None:
                seen = Seen(UNKNOWN.snapshot_id, head.id, head.sequence_number)
                self._memory.keep(edge, seen)
            return self._every(seen.sequence, f"nothing tells how far {edge.reader} has followed {edge.upstream}")
        left_out: Noted = {day: (number, _LEFT_OUT) for day, number in was.pending.items()}
        return left_out | self._since(edge, was, head)

    def _since(self, edge: Edge, was: Consumed, head: SnapshotInfo) -> Noted:
        """The days that changed after the reader followed the upstream."""
        if head.id == was.snapshot_id:
            self._memory.forget(edge)
            return {}
        seen = self._memory.recall(edge, was)
        if seen is None or seen.head != head.id:
            seen = self._look_up(edge, was, head, seen)
            self._memory.keep(edge, seen)
        every = self._every(seen.every_at, seen.every) if seen.every else {}
        return every | {day: (number, _NOTES[edge.reach]) for day, number in seen.days.items()}

    def _look_up(self, edge: Edge, was: Consumed, head: SnapshotInfo, before: Seen | None) -> Seen:
        """What was touched: only since `before`, where that is known, so that earlier changes keep their numbers."""
        found = self._touched(edge, was if before is None else Consumed(before.sequence, before.head))
        if before is not None and isinstance(found, Every):
            # What was looked at last may have expired; what the reader followed is kept for it.
            before, found = None, self._touched(edge, was)
        days = {} if before is None else dict(before.days)
        every, every_at = ("", 0) if before is None else (before.every, before.every_at)
        if isinstance(found, Every):
            every, every_at = found.why, found.sequence
        else:
            days.update(found)
        return Seen(was.snapshot_id, head.id, head.sequence_number, days, every, every_at)

    def _touched(self, edge: Edge, since: Consumed) -> Mapping[date, int] | Every:
        return touched(self._look.table(edge.upstream), lambda: self._views.of(edge.tables), edge, since)

    def _every(self, number: int, why: str) -> Noted:
        return dict.fromkeys(every_day(self._days_of, self._edges, number), (number, why))

    def _days_of(self, name: TableName) -> Iterable[date]:
        head = self._look.head(name)
        if head is None:
            return ()
        found = self._memory.days(name, head.id)
        if found is None:
            found = self._look.table(name).days()
            self._memory.keep_days(name, head.id, found)
        return found
