"""What was worked out about days before, so that asking again costs nothing while nothing is new.

Lost, it is worked out anew, at once and not step by step: then changes that were undone in between are not among them.
Else only time depends on it. Where it is kept is the caller's business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from lakehouse.changes.consumed import Consumed, days_by_number, spans_by_number
from lakehouse.changes.edges import Edge
from lakehouse.tables import TableName


@dataclass(frozen=True)
class Seen:
    """The days of a reader that an upstream touched after snapshot `since`, up to a head.

    `every`: why that is every day, "" if it is not, as of the change numbered `every_at`.
    """

    since: int
    head: int
    sequence: int
    days: Mapping[date, int] = field(default_factory=dict)
    every: str = ""
    every_at: int = 0


class Memory:
    """By reader and upstream, what was seen last; and the days of tables. `stale_days` changes the one it is given."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, Seen]] = {}
        self._days: dict[str, tuple[int, tuple[date, ...]]] = {}

    def to_json(self) -> dict[str, object]:
        """As JSON: spans of days, so that it stays small."""
        seen = {
            key: [edge, of.since, of.head, of.sequence, spans_by_number(of.days), of.every, of.every_at]
            for key, (edge, of) in self._seen.items()
        }
        days = {name: [head, spans_by_number(dict.fromkeys(of, 0))] for name, (head, of) in self._days.items()}
        return {"seen": seen, "days": days}

    @classmethod
    def from_json(cls, told: object) -> Memory:
        """What `to_json` made. What it did not make is no memory: nothing is remembered then."""
        found = cls()
        try:
            found._read(told)
        except (AttributeError, KeyError, TypeError, ValueError):
            return cls()
        return found

    def recall(self, edge: Edge, since: Consumed) -> Seen | None:
        """What was seen, if it was about this very edge and began where the reader still stands."""
        text, seen = self._seen.get(_key(edge), ("", None))
        return seen if seen is not None and text == _fingerprint(edge) and seen.since == since.snapshot_id else None

    def keep(self, edge: Edge, seen: Seen) -> None:
        """Remember it instead of what was."""
        self._seen[_key(edge)] = _fingerprint(edge), seen

    def forget(self, edge: Edge) -> None:
        """Of an edge that is up to date there is nothing to remember."""
        self._seen.pop(_key(edge), None)

    def days(self, name: TableName, head: int) -> tuple[date, ...] | None:
        """The days that a table holds at a snapshot, in order, if that is remembered."""
        known, days = self._days.get(str(name), (None, ()))
        return days if known == head else None

    def keep_days(self, name: TableName, head: int, days: Iterable[date]) -> None:
        """Remember the days of a table."""
        self._days[str(name)] = head, tuple(days)

    def keep_only(self, edges: Iterable[Edge]) -> None:
        """Forget what is about tables that are not there any more."""
        edges = list(edges)
        known = set(map(_key, edges))
        names = {str(name) for edge in edges for name in (edge.reader, edge.upstream)}
        self._seen = {key: value for key, value in self._seen.items() if key in known}
        self._days = {name: value for name, value in self._days.items() if name in names}

    def _read(self, told: Any) -> None:  # noqa: ANN401  (JSON)
        for key, (edge, since, head, sequence, days, every, at) in told["seen"].items():
            seen = Seen(int(since), int(head), int(sequence), days_by_number(days), str(every), int(at))
            self._seen[key] = str(edge), seen
        for name, (head, days) in told["days"].items():
            self._days[name] = int(head), tuple(sorted(days_by_number(days)))


def _key(edge: Edge) -> str:
    return f"{edge.reader} <- {edge.upstream}"


def _fingerprint(edge: Edge) -> str:
    return hashlib.sha256(f"{edge.reach} {edge.start} {edge.sql}".encode()).hexdigest()[:16]
