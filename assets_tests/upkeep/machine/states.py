"""What the model knows: the rows of every ref and of every snapshot, and how each step changes them.

A multiset of rows, no files: whatever upkeep does to the files of a table, these stay. How a step is carried out
belongs with whoever takes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from assets_tests.iceberg.machine.merging import entering, joined
from assets_tests.iceberg.machine.states import BY_KEY, Keyed, Row, Tombs, Where
from lakehouse.iceberg import MAIN

Rows = tuple[Row, ...]
"""Sorted; a row may be there more than once."""


@dataclass(frozen=True)
class State:
    """What a ref shows: its rows, how far each scope has come, and the run keys that count as done on it.

    `windows`: the branches of which some windows were taken on the way. `tombs`: the deleted keys that it remembers.
    """

    rows: Rows = ()
    progress: Mapping[str, int] = field(default_factory=dict)
    keys: frozenset[str] = frozenset()
    windows: frozenset[int] = frozenset()
    tombs: Tombs | None = None

    def merged(self, effect: str, rows: Sequence[Row], keyed: Keyed) -> State | None:
        """After rows have entered by key. None: they must be refused."""
        after = entering(effect, rows, keyed, self.rows, self.tombs)
        return after and replace(self, rows=tuple(after.to(self.rows)), tombs=after.tombs)

    def plus(self, rows: Iterable[Row]) -> State:
        return replace(self, rows=tuple(sorted([*self.rows, *rows])))

    def minus(self, rows: Iterable[Row]) -> State:
        """Without these, each of which must be there."""
        gone, there = Counter(rows), Counter(self.rows)
        assert gone <= there
        return replace(self, rows=tuple(sorted((there - gone).elements())))

    def without(self, where: Where) -> State:
        return replace(self, rows=tuple(row for row in self.rows if not where.means(row)))

    def by(self, scope: str, at: int, key: str) -> State:
        return replace(self, progress={**self.progress, scope: at}, keys=self.keys | {key})

    def of_day(self, day: int) -> list[Row]:
        return [row for row in self.rows if row[1] == day]


@dataclass(frozen=True)
class Run:
    """One run of a writer on main: the same key means the same work."""

    key: str
    effect: str
    rows: Rows
    where: Where
    scope: str
    at: int
    issued_at: datetime
    keyed: Keyed

    def on(self, state: State) -> State | None:
        """None: it must be refused."""
        if self.key in state.keys:
            return state
        if self.effect in BY_KEY:
            after = state.merged(self.effect, self.rows, self.keyed)
            return after and after.by(self.scope, self.at, self.key)
        kept = state if self.effect in {"append", "replace"} else state.without(self.where)
        return kept.plus(self.rows).by(self.scope, self.at, self.key)


@dataclass
class Branch:
    """Work beside main: the progress and keys that `publish` has to bring, and as long as all are appends the rows.

    `fork`: the state that it began with.
    """

    number: int
    state: State
    fork: State = field(init=False)
    rows: list[Row] = field(default_factory=list)
    progress: dict[str, int] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    merged: bool = False

    def __post_init__(self) -> None:
        self.fork = self.state

    def onto(self, main: State) -> State:
        """Main with all of it, put on top."""
        # Else the rows of these windows come to main a second time.
        assert self.number not in main.windows
        # A key of a merge may have come to main since.
        assert not self.merged
        return self.said_on(main.plus(self.rows))

    def said_on(self, main: State) -> State:
        """Main with the progress and the keys of it."""
        return replace(main, progress={**main.progress, **self.progress}, keys=main.keys | self.keys)

    def days_onto(self, main: State, days: Collection[int]) -> State:
        """Main with what the branch holds of some days."""
        rows = [row for row in main.rows if row[1] not in days] + [row for row in self.state.rows if row[1] in days]
        tombs = joined(main.tombs, self.fork.tombs, self.state.tombs)
        return replace(main, rows=tuple(sorted(rows)), windows=main.windows | {self.number}, tombs=tombs)


@dataclass
class Model:
    """Main, the branches, and all that was ever seen: the state of each snapshot that a ref has pointed at.

    `line`: the heads that main has had, each with the kind of step that brought it.
    """

    main: State = field(default_factory=State)
    branches: dict[str, Branch] = field(default_factory=dict)
    tags: dict[str, int] = field(default_factory=dict)
    held: set[int] = field(default_factory=set)
    states: dict[int, State] = field(default_factory=dict)
    rows: dict[int, Rows] = field(default_factory=dict)
    line: list[tuple[int, str]] = field(default_factory=list)

    def refs(self) -> dict[str, State]:
        return {MAIN: self.main, **{name: branch.state for name, branch in self.branches.items()}}

    def since(self, fork: int) -> Collection[str]:
        """The kinds of steps by which main moved after a head of its own."""
        at = max(number for number, (head, _) in enumerate(self.line) if head == fork)
        return {kind for _, kind in self.line[at + 1 :]}
