"""What each table must hold, and which days of it may be out of date, in plain Python: it knows nothing of the lake.

How a step is carried out belongs with whoever takes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from assets_tests.changes.machine.chain import (
    B_ORDERS,
    B_PAYMENTS,
    B_RATES,
    DAYS,
    FACTS,
    ORDERS,
    PARENTS,
    PAYMENTS,
    READERS,
    TABLES,
)
from lakehouse.tables import TableName

Row = tuple[Any, ...]
"""The values in the order of the contract; a day is its number."""
Rows = frozenset[Row]
Content = Mapping[TableName, Rows]
Days = frozenset[int]

ALL: Days = frozenset(range(DAYS))
BORN = (0, 0, 1, 2, 3, 3, 10, 30, 31, 45, 58, 59)
"""The day of each order, by its number: fixed at its birth."""
RATED = (0, 2, 10, 31, 50)
"""The days that rates are told for."""


def computed(name: TableName, content: Content) -> Rows:
    """What a model's table holds, if it is computed from this."""
    return _FORMULAS[name](content)


def oracle(content: Content) -> dict[TableName, Rows]:
    """What all of them hold, if all is computed from what has come from the source."""
    found = dict(content)
    for name in (PAYMENTS, *READERS):
        found[name] = computed(name, found)
    return found


def of_days(name: TableName, rows: Rows, days: Collection[int]) -> Rows:
    at = DAY_AT[name]
    return frozenset(row for row in rows if row[at] in days)


def days_in(name: TableName, rows: Rows) -> Days:
    return frozenset(row[DAY_AT[name]] for row in rows)


def _latest(rows: Rows, keys: int, version: int) -> list[Row]:
    newest: dict[Row, Row] = {}
    for row in sorted(rows, key=lambda row: int(row[version])):
        newest[row[:keys]] = row
    return list(newest.values())


def _orders(content: Content) -> Rows:
    return frozenset(row[:4] for row in _latest(content[B_ORDERS], 1, 4) if not row[5])


def _payments(content: Content) -> Rows:
    return frozenset(row[:3] for row in _latest(content[B_PAYMENTS], 1, 3) if not row[4])


def _facts(content: Content) -> Rows:
    rates = _latest(content[B_RATES], 2, 3)
    found = set[Row]()
    for order_id, born, currency, amount in content[ORDERS]:
        known = [(day, rate) for of, day, rate, _ in rates if of == currency and day <= born]
        worth = amount * max(known)[1] if known else None
        found.add((order_id, born, worth, sum(row[2] for row in content[PAYMENTS] if row[1] == order_id)))
    return frozenset(found)


_FORMULAS = {ORDERS: _orders, PAYMENTS: _payments, FACTS: _facts}
DAY_AT = {B_ORDERS: 1, ORDERS: 1, FACTS: 1}


def reached(upstream: TableName, reader: TableName, old: Content, new: Content, touched: Collection[int]) -> Days:
    """The days of a reader that a change of what it reads may reach. `touched`: the days whose files were written."""
    changed = old[upstream] ^ new[upstream]
    if upstream == PAYMENTS:
        return frozenset(BORN[row[1]] for row in changed)
    if upstream == B_RATES:
        return frozenset(day for row in changed for day in _until_the_next_rate(row[0], row[1], new[B_RATES]))
    assert reader in READERS
    return days_in(upstream, changed) | frozenset(touched)


def _until_the_next_rate(currency: str, day: int, rates: Rows) -> range:
    later = [row[1] for row in rates if row[0] == currency and row[1] > day]
    return range(day, min(later, default=DAYS))


@dataclass(frozen=True)
class State:
    """What a table was at a snapshot: its rows; of a model, which days were out of date, and what it had followed.

    `logged`: how much had reached its days by then.
    """

    rows: Rows
    dirty: Days = frozenset()
    logged: int = 0
    followed: Mapping[TableName, int] = field(default_factory=dict)


@dataclass
class Model:
    """The rows of each table, and of each daily one the days that may be found out of date.

    `moves`: how often main of a table has come to other rows; `followed`: up to which of them a model has seen each
    table that it reads; `forgotten`: before which of them nobody may be able to tell what came after. `log`: by reader,
    the days that each move of what it reads has reached. `reasons`: how often a day got a reason to be computed,
    `times`: how often it was.
    """

    content: dict[TableName, Rows] = field(default_factory=lambda: dict.fromkeys(TABLES, frozenset()))
    moves: dict[TableName, int] = field(default_factory=lambda: dict.fromkeys(TABLES, 0))
    forgotten: dict[TableName, int] = field(default_factory=lambda: dict.fromkeys(TABLES, 0))
    followed: dict[TableName, Mapping[TableName, int]] = field(
        default_factory=lambda: {name: dict.fromkeys(parents, 0) for name, parents in PARENTS.items()}
    )
    dirty: dict[TableName, Days] = field(default_factory=lambda: dict.fromkeys(READERS, frozenset()))
    log: dict[TableName, list[Days]] = field(default_factory=lambda: {name: [] for name in READERS})
    states: dict[int, State] = field(default_factory=dict)
    reasons: Counter[tuple[TableName, int]] = field(default_factory=Counter)
    times: Counter[tuple[TableName, int]] = field(default_factory=Counter)

    def moved(self, name: TableName, rows: Rows, touched: Collection[int] = ()) -> None:
        """Main of a table has come to hold these rows, by writing files of the days `touched`."""
        old = dict(self.content)
        self.content[name] = rows
        self.moves[name] += 1
        for reader in READERS:
            if name in PARENTS[reader]:
                self.soil(reader, reached(name, reader, old, self.content, touched))

    def moved_back(self, name: TableName, state: State) -> None:
        """Main of a table has come to an earlier state, which tells nobody what it has left."""
        self.content[name] = state.rows
        self.moves[name] += 1
        if name in READERS:
            self.soil(name, state.dirty.union(*self.log[name][state.logged :]))
        if name in PARENTS:
            self.followed[name] = state.followed
        for reader in READERS:
            if name in PARENTS[reader]:
                self.soil(reader, ALL)

    def expired(self, name: TableName, *, held: bool) -> None:
        """The past of a table is gone; `held`: but for what those who read it have not followed yet."""
        seen = [followed[name] for followed in self.followed.values() if name in followed]
        # A compaction that followed what was read says whose rows it holds: it is known that nothing came after.
        gone = min(seen) if held and seen else self.moves[name]
        self.forgotten[name] = max(self.forgotten[name], gone)

    def soil(self, reader: TableName, days: Collection[int]) -> None:
        """Something has reached these days of a reader."""
        self.dirty[reader] |= frozenset(days)
        self.log[reader].append(frozenset(days))
        self.reasons.update((reader, day) for day in days)

    def clean(self, reader: TableName, days: Days) -> Days:
        """A build of these days begins: which of them something had reached."""
        found = self.dirty[reader] & days
        self.dirty[reader] -= days
        return found

    def leave(self, reader: TableName, days: Days) -> None:
        """A build of these days has landed: where nobody can tell what came, the others may be out of date still."""
        left = self.may_be_stale(reader) - self.dirty[reader] - days
        self.dirty[reader] |= left
        self.reasons.update((reader, day) for day in left)

    def may_be_stale(self, reader: TableName) -> Days:
        """The days that something has reached; all, where the way from what was followed to what there is has gone."""
        for upstream, seen in self.followed[reader].items():
            if seen < self.forgotten[upstream]:
                return ALL
        return self.dirty[reader]

    def must_be_stale(self, reader: TableName) -> Days:
        """The days that are not what they would be, computed from what there is now."""
        return days_in(reader, self.content[reader] ^ computed(reader, self.content))

    def state(self, name: TableName) -> State:
        followed = dict(self.followed.get(name, {}))
        if name in READERS:
            return State(self.content[name], self.dirty[name], len(self.log[name]), followed)
        return State(self.content[name], followed=followed)
