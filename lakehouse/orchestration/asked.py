"""What the sensor `changes` has asked for: its cursor, and whether a change is to be asked for (again). Pure.

Nothing depends on it but not asking twice: where it is lost, everything that is out of date is asked for once more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Protocol

from lakehouse.errors import SettingsError
from lakehouse.tables import TableName

PATIENCE = 120.0
"""Seconds after which a question that no run has taken up counts as lost."""
_VERSION = 1
_MOST = 2
"""How often one change is asked for at most."""

Target = tuple[TableName, date | None]
"""A day of a daily table, or a table that has no days."""


@dataclass(frozen=True)
class Ask:
    """One question: for which change (its fingerprint), when last (seconds of the epoch), and how many times."""

    change: str
    at: float
    times: int = 1


class Answers(Protocol):
    """How runs went, as far as somebody has to know before asking again."""

    def tried(self, target: Target) -> bool:
        """Whether the run that made the change built this with it already, and failed by itself."""
        ...

    def settled(self, target: Target, since: float) -> bool:
        """Whether a run since then tried to build this, and failed by itself or was canceled by somebody."""
        ...


def ask_of(before: Ask | None, change: str, target: Target, now: float, answers: Answers) -> Ask:
    """The question as it stands: it is to be asked if its time is `now`.

    A change is asked for once. What was killed, or got lost on the way, is asked for once more, and no more than that;
    what failed by itself waits until something changes again, or somebody runs it.
    """
    if before is None or before.change != change:
        return Ask(change, 0.0, _MOST) if answers.tried(target) else Ask(change, now)
    if before.times < _MOST and now - before.at >= PATIENCE and not answers.settled(target, before.at):
        return Ask(change, now, before.times + 1)
    return before


@dataclass(frozen=True)
class Asked:
    """The last question for each table and day that is out of date.

    `waiting`: since when nothing is asked because runs are under way. `memory`: what was worked out, as JSON (see
    `lakehouse.changes.Memory`); it goes with the questions, for it keeps the numbers of changes that they name.
    """

    asks: Mapping[Target, Ask] = field(default_factory=dict)
    waiting: float | None = None
    memory: object = None

    @classmethod
    def read(cls, cursor: str | None) -> Asked:
        """From a cursor; empty for none, and for one that another release wrote."""
        try:
            told = json.loads(cursor or "{}")
            if told.get("version") != _VERSION:
                return cls()
            asks = {target: ask for entry in told["asks"] for target, ask in _targets(entry)}
            return cls(asks, told["waiting"], told["memory"])
        except (ValueError, TypeError, KeyError, AttributeError, SettingsError):
            return cls()

    def text(self) -> str:
        """As a cursor: neighbouring days of a table that were asked for together are one entry."""
        told = {
            "version": _VERSION,
            "asks": list(_entries(self.asks)),
            "waiting": self.waiting,
            "memory": self.memory,
        }
        return json.dumps(told, separators=(",", ":"))


def _entries(asks: Mapping[Target, Ask]) -> Iterator[list[object]]:
    """`[table, first day, last day, change, at, times]`; the days are null for a table without."""
    found: list[tuple[TableName, date | None, date | None, Ask]] = []
    for (name, day), ask in sorted(asks.items(), key=lambda item: (item[0][0], item[0][1] or date.min)):
        last = found[-1] if found else None
        if last and day and last[2] and (last[0], last[2] + timedelta(days=1), last[3]) == (name, day, ask):
            found[-1] = (name, last[1], day, ask)
        else:
            found.append((name, day, day, ask))
    for name, first, end, ask in found:
        yield [str(name), first and first.isoformat(), end and end.isoformat(), ask.change, ask.at, ask.times]


def _targets(entry: list[Any]) -> Iterator[tuple[Target, Ask]]:
    table, first, last, *fields = entry
    name, ask = TableName.parse(table), Ask(*fields)
    if first is None:
        yield (name, None), ask
        return
    day, end = date.fromisoformat(first), date.fromisoformat(last)
    while day <= end:
        yield (name, day), ask
        day += timedelta(days=1)
