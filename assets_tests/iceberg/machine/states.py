"""What the model is made of: runs, the rows and files they write, and states, each a set of files.

What a step must do to a state belongs in `model.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

import pyarrow as pa

from lakehouse.iceberg import Way
from lakehouse.tables import Window

SCOPES = ("a", "b")
BY_KEY = {"merge", "replace_keys", "history"}

Row = tuple[int, ...]
"""The id and the day of January; of a version that has ended, the day of its end too."""


@dataclass(frozen=True)
class Where:
    """Days from `low` to `high`, or ids from `low` on, or everything."""

    kind: str
    low: int
    high: int

    def means(self, row: Row) -> bool:
        number, day = row[:2]
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
class Keyed:
    """How rows enter by key: `by` id, by id and day, or by id with the day as sequence. `gone`: which delete."""

    by: str
    way: Way | None
    gone: tuple[bool, ...]

    def key(self, row: Row) -> Row | int:
        return row[:2] if self.by == "id and day" else row[0]

    @property
    def sequence(self) -> bool:
        return self.by == "sequence"

    @property
    def columns(self) -> list[str]:
        return ["id", "day"] if self.by == "id and day" else ["id"]

    @property
    def complete(self) -> bool:
        """Of a history, whose key is the id: whether nothing that the table holds of a key counts."""
        return self.by == "id and day"


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
    keyed: Keyed

    @property
    def step(self) -> str:
        if self.effect == "history":
            return "complete history" if self.keyed.complete else "history"
        if self.effect == "replace_keys":
            return f"replace_keys by {' and '.join(self.keyed.columns)}"
        return f"merge by {self.keyed.by}" if self.effect == "merge" else self.effect


@dataclass(frozen=True, eq=False)
class File:
    """The rows of one day, in the table's partitions of the time when they were written."""

    day: int
    rows: tuple[Row, ...]
    split: bool


@dataclass(frozen=True, eq=False)
class Mask:
    """A delete file: all rows like these in one file, which need not be there any more."""

    file: File
    rows: frozenset[Row]


@dataclass(frozen=True, eq=False)
class Sheet:
    """A manifest of delete files; of none, where all that it tells is that they are gone."""

    masks: frozenset[Mask]


@dataclass(frozen=True, eq=False)
class Tombs:
    """What is remembered of deleted keys: the sequence of the deletion by key."""

    days: Mapping[int, int]


@dataclass(frozen=True, eq=False)
class State:
    """A snapshot, as it must be. `inner`: a step inside one commit of another program; `merge`: a merge made it.

    `tombs`: None where no merge ever deleted a key.
    """

    parent: State | None
    operation: str
    files: frozenset[File]
    progress: Mapping[str, int] = field(default_factory=dict)
    key: str | None = None
    of_windows: bool = False
    inner: bool = False
    merge: bool = False
    sheets: frozenset[Sheet] = frozenset()
    tombs: Tombs | None = None

    @cached_property
    def history(self) -> tuple[State, ...]:
        return (self, *(self.parent.history if self.parent else ()))

    @cached_property
    def rows(self) -> list[Row]:
        return sorted(row for file in self.files for row in self.live(file))

    @cached_property
    def stored(self) -> int:
        """How many rows are in the files, hidden ones too."""
        return sum(len(file.rows) for file in self.files)

    @cached_property
    def masks(self) -> Mapping[File, Mask]:
        return {mask.file: mask for sheet in self.sheets for mask in sheet.masks}

    def live(self, file: File) -> list[Row]:
        hidden = self.masks[file].rows if file in self.masks else frozenset[Row]()
        return [row for row in file.rows if row not in hidden]

    def sheets_after(self, removed: Collection[File], come: Collection[Mask] = ()) -> frozenset[Sheet]:
        """One new manifest of all that come, and of all that were beside those that go."""
        off = {*removed, *(mask.file for mask in come)}
        torn = {sheet for sheet in self.sheets if any(mask.file in off for mask in sheet.masks)}
        kept = frozenset(sheet for sheet in self.sheets - torn if sheet.masks)
        if not torn and not come:
            return kept
        left = (mask for sheet in torn for mask in sheet.masks if mask.file not in off)
        return kept | {Sheet(frozenset([*left, *come]))}

    @cached_property
    def moved(self) -> Mapping[str, int]:
        before = self.parent.progress if self.parent else {}
        return {scope: at for scope, at in self.progress.items() if before.get(scope) != at}

    def has(self, key: str | None) -> bool:
        return key is not None and any(past.key == key for past in self.history)


EMPTY = State(None, "none", frozenset())
NO_TOMBS = Tombs({})
"""A merge said that no key is remembered: the same text, whoever says it."""
Refs = dict[str, State]


def files_of(rows: Collection[Row], *, split: bool) -> frozenset[File]:
    """One write makes one file a day."""
    days = {row[1] for row in rows}
    return frozenset(File(day, tuple(sorted(row for row in rows if row[1] == day)), split) for day in days)


def rows_of(table: pa.Table, *, as_stored: bool = False) -> list[Row]:
    """The rows of a table, sorted or not. Its first columns are id, day and end, whatever they are called."""
    columns = [column.to_pylist() for column in table.columns[:3]]
    rows = zip(*columns, strict=True)
    found = [(number, day.day) if end is None else (number, day.day, end.day) for number, day, end in rows]
    return found if as_stored else sorted(found)


def of_day(state: State, day: int) -> frozenset[File]:
    return frozenset(file for file in state.files if file.day == day)


def january(number: int) -> date:
    return date(2026, 1, number)
