"""What the model is made of: runs, the rows and files they write, and states, each a set of files.

What a step must do to a state belongs in `model.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

from lakehouse.tables import Window

SCOPES = ("a", "b")

Row = tuple[int, int]
"""The id and the day of January."""


@dataclass(frozen=True)
class Where:
    """Days from `low` to `high`, or ids from `low` on, or everything."""

    kind: str
    low: int
    high: int

    def means(self, row: Row) -> bool:
        number, day = row
        return {"window": self.low <= day <= self.high, "ids": number >= self.low, "all": True}[self.kind]

    @property
    def ours(self) -> Window | str | None:
        if self.kind == "window":
            return Window.of_days(january(self.low), january(self.high))
        return f"id >= {self.low}" if self.kind == "ids" else None

    @property
    def theirs(self) -> str:
        if self.kind == "window":
            return f"day >= '{january(self.low)}' and day <= '{january(self.high)}'"
        return f"id >= {self.low}" if self.kind == "ids" else "id >= 0"


@dataclass(frozen=True)
class Run:
    """One run of a writer: the same key means the same work."""

    key: str
    branch: str
    effect: str
    rows: tuple[Row, ...]
    where: Where
    writer: int
    moves: int | None
    fence: str


@dataclass(frozen=True, eq=False)
class File:
    day: int
    ids: tuple[int, ...]

    @property
    def rows(self) -> list[Row]:
        return [(number, self.day) for number in self.ids]


@dataclass(frozen=True, eq=False)
class State:
    """A snapshot, as it must be. `inner`: a step inside one commit of another program."""

    parent: State | None
    operation: str
    files: frozenset[File]
    progress: Mapping[str, int] = field(default_factory=dict)
    key: str | None = None
    of_windows: bool = False
    inner: bool = False

    @cached_property
    def history(self) -> tuple[State, ...]:
        return (self, *(self.parent.history if self.parent else ()))

    @cached_property
    def rows(self) -> list[Row]:
        return sorted(row for file in self.files for row in file.rows)

    @cached_property
    def moved(self) -> Mapping[str, int]:
        before = self.parent.progress if self.parent else {}
        return {scope: at for scope, at in self.progress.items() if before.get(scope) != at}

    def has(self, key: str | None) -> bool:
        return key is not None and any(past.key == key for past in self.history)


EMPTY = State(None, "none", frozenset())
Refs = dict[str, State]


def files_of(rows: Collection[Row]) -> frozenset[File]:
    """One write makes one file a day."""
    days = {day for _, day in rows}
    return frozenset(File(day, tuple(sorted(number for number, of in rows if of == day))) for day in days)


def of_day(state: State, day: int) -> frozenset[File]:
    return frozenset(file for file in state.files if file.day == day)


def january(number: int) -> date:
    return date(2026, 1, number)
