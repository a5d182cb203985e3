"""Who asks which days are out of date, and has them computed: all of them or some, and again after a restart."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from assets_tests.changes.machine.chain import (
    B_ORDERS,
    B_PAYMENTS,
    DAYS,
    FACTS,
    ORDERS,
    PARENTS,
    PAYMENTS,
    READERS,
    TABLES,
    day,
    number_of,
)
from assets_tests.changes.machine.drawn import KILL, OTHER, SOME, WINDOW
from assets_tests.changes.machine.gated import Gated
from assets_tests.changes.machine.model import BORN, Days, computed, oracle
from assets_tests.changes.machine.world import World
from lakehouse.changes.memory import Memory
from lakehouse.changes.models import stale_models
from lakehouse.changes.stale import stale_days
from lakehouse.tables import TableName, Window
from lakehouse.tables.window import spans

Causes = frozenset[tuple[TableName, int]]
"""What a day is out of date because of; while that is the same, nobody asks again."""
PATIENCE = 3
"""After so many rounds in which nothing comes between, nothing is out of date."""


class Asker(Gated):
    def __init__(self) -> None:
        self.memory = Memory()
        self.asked: dict[tuple[TableName, int], Causes] = {}
        super().__init__()

    def begin(self) -> None:
        self.carry_out([(name, None) for name in (PAYMENTS, *READERS)])
        self.model.reasons.clear()
        self.model.times.clear()

    def stale(self) -> dict[TableName, dict[int, Causes]]:
        """What the lake says, which is neither too little nor too much, whatever is remembered."""
        found = stale_days(self.settings, self.lake, TABLES, PARENTS, known=self.memory)
        told = {
            name: {
                number_of(one): frozenset((cause.upstream, cause.sequence) for cause in causes)
                for one, causes in (found[name].days.items() if name in found else ())
            }
            for name in READERS
        }
        for name in READERS:
            assert self.model.must_be_stale(name) <= told[name].keys(), name
            # What is being built may be out of date still.
            building = frozenset[int]().union(*(begun.soiled for begun in self.open if begun.name == name))
            assert told[name].keys() <= self.model.may_be_stale(name) | building, name
        return told

    def stale_undated(self) -> bool:
        found = stale_models(self.lake, TABLES, PARENTS)
        assert found.keys() <= {PAYMENTS}
        stale = PAYMENTS in found
        (seen,) = self.model.followed[PAYMENTS].values()
        (moves,) = (self.model.moves[parent] for parent in PARENTS[PAYMENTS])
        assert stale or computed(PAYMENTS, self.model.content) == self.model.content[PAYMENTS]
        # Who can no longer tell takes it for moved: that costs one run of the model, and its rows stay what they are.
        assert not stale or seen < moves or seen < self.model.forgotten[B_PAYMENTS]
        return stale

    @rule(kill=KILL, other=OTHER)
    def refresh(self, kill: tuple[int, bool] | None, other: dict[str, Any] | None) -> None:
        """The undated model that reads what has moved is replaced."""
        if self.stale_undated():
            self.carry_out([(PAYMENTS, None)], kill, other)
            World.done["refresh"] += 1

    @rule(some=SOME, kill=KILL, other=OTHER, gated=st.booleans(), restart=st.booleans())
    def ask(
        self,
        some: int,
        kill: tuple[int, bool] | None,
        other: dict[str, Any] | None,
        *,
        gated: bool = True,
        restart: bool = False,
    ) -> None:
        """The days that are out of date, some of them or all, in each table and in what follows it."""
        stale = self.stale()
        if restart:
            # Whatever was remembered is lost. What was asked for is asked for once more, but for what was undone since.
            self.memory = Memory()
            remembered, stale = stale, self.stale()
            for name, days in stale.items():
                assert all(causes <= remembered[name].get(one, frozenset()) for one, causes in days.items()), name
            self.model.reasons.update(self.asked.keys())
            self.asked.clear()
        new = {
            name: frozenset(one for one, causes in days.items() if self.asked.get((name, one)) != causes)
            for name, days in stale.items()
        }
        chosen = {name: self.choose(days, some) for name, days in new.items()}
        for name in READERS:
            # Where nobody can tell any more what came, every day is computed once.
            self.model.reasons.update((name, one) for one in chosen[name] - self.model.dirty[name])
        # Silver and gold of a day together.
        together, alone = chosen[ORDERS], chosen[FACTS] - chosen[ORDERS]
        if gated:
            for days, names in ((together, READERS), (alone, (FACTS,))):
                for span in spans(map(day, days)):
                    held = self.run_gated(names, span, kill, other)
                    asked = {
                        (name, one): causes for name in names for one, causes in stale[name].items() if one in held
                    }
                    self.asked.update(asked)
                    kill = other = None
        elif together | alone:
            work = [(ORDERS, together), (FACTS, together | alone)]
            self.carry_out([(name, span) for name, days in work for span in spans(map(day, days))], kill, other)
        World.done["ask" if together | alone else "ask for nothing"] += 1

    ask_too = ask

    @staticmethod
    def choose(days: Days, some: int) -> Days:
        return frozenset(one for place, one in enumerate(sorted(days)) if some >> (place % 8) & 1)

    @rule(name=st.sampled_from(READERS), window=WINDOW, kill=KILL)
    def backfill(self, name: TableName, window: Window | None, kill: tuple[int, bool] | None) -> None:
        """Somebody has days computed for no reason."""
        days = range(DAYS) if window is None else map(number_of, window.days)
        self.model.reasons.update((name, one) for one in days)
        self.carry_out([(name, window)], kill)
        World.done["backfill"] += 1

    def come_to_rest(self) -> None:
        """Asked until nothing is out of date but what is held; and once that is corrected, all is as it should be."""
        self.settle_down()
        bad = {row[0] for row in computed(ORDERS, self.model.content) if row[3] < 0}
        left = {(name, one) for name, days in self.stale().items() for one in days}
        assert left <= self.asked.keys()
        assert {one for _, one in left} <= {BORN[number] for number in bad}
        if bad:
            self.append(
                B_ORDERS, [(number, BORN[number], "A", 10, next(self.numbers), False) for number in sorted(bad)]
            )
            self.settle_down()
        assert not any(self.stale().values())
        wanted = oracle(self.model.content)
        assert {name: self.read(name) for name in TABLES} == wanted
        for reason, times in self.model.times.items():
            assert times <= self.model.reasons[reason], reason
        World.done["came to rest"] += 1

    def settle_down(self) -> None:
        for _ in range(PATIENCE):
            if self.stale_undated():
                self.refresh(None, None)
            self.ask(-1, None, None)
        assert not self.stale_undated()
