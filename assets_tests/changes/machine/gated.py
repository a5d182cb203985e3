"""Runs that are judged before anybody sees them: the good days are published, a bad one waits until it is corrected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import duckdb

from assets_tests.changes.machine.builds import Build, Builds
from assets_tests.changes.machine.chain import (
    AGREES,
    B_ORDERS,
    B_PAYMENTS,
    B_RATES,
    FACTS,
    ORDERS,
    PARENTS,
    PAYMENTS,
    TABLES,
)
from assets_tests.changes.machine.chain import day as date_of
from assets_tests.changes.machine.model import Days, Rows, computed, of_days
from assets_tests.changes.machine.world import World
from assets_tests.iceberg.overtaking import swap_overtaken
from assets_tests.upkeep.machine.befalls import Came, killed, tried
from lakehouse.changes.edges import edges_of
from lakehouse.contracts.failures import figure_query
from lakehouse.errors import CommitConflict, Fenced
from lakehouse.iceberg import Commit, register
from lakehouse.quality.finding import Finding, Outcome
from lakehouse.tables import TableName, Window
from lakehouse.transform.attribution import Blame
from lakehouse.transform.publish import publish_models
from lakehouse.transform.publish_days import DayPublisher

OTHERS = {B_ORDERS, B_PAYMENTS, B_RATES, PAYMENTS}
"""What somebody may work on while the daily tables are half published, which the model learns in the end."""
NOTHING: Days = frozenset()


@dataclass
class Run:
    """Daily tables of one window on a branch. `bad`: the days that the gate does not let through.

    `brought`: the tables whose good days were seen to become visible. `blame`: who is at fault for a broken rule of
    gold. `heads`: main before.
    """

    branch: str
    window: Window
    builds: list[Build] = field(default_factory=list)
    bad: Days = NOTHING
    brought: set[TableName] = field(default_factory=set)
    blame: Blame | None = None
    heads: dict[TableName, int | None] = field(default_factory=dict)


class Gated(Builds):
    def run_gated(
        self,
        names: Sequence[TableName],
        window: Window,
        kill: tuple[int, bool] | None = None,
        other: dict[str, Any] | None = None,
    ) -> Days:
        """Compute daily tables, parents first, and publish what may be seen; which days were left behind as bad."""
        run = Run(f"run/{next(self.numbers)}", window)

        def act() -> None:
            self.compute(run, names)
            self.publish(run, names, self.audited(run, names))

        if kill is not None:
            came = killed(self.catalog, kill, act)
        elif other is not None:
            with swap_overtaken(self.catalog, lambda: self.someone_acts(_harmless(other)), 1 + other["at"]):
                came = tried(act)
        else:
            came = tried(act)
        self.settle_run(run, came)
        assert came.well or came.killed or (other is not None and isinstance(came.error, Fenced | CommitConflict))
        return run.bad if came.well else NOTHING

    def compute(self, run: Run, names: Sequence[TableName]) -> None:
        on_branch: dict[TableName, Rows] = {}
        for name in names:
            register(self.duck, self.lake, at=run.branch, tables=PARENTS[name])
            begun = self.begin_build(name, run.window, {**self.model.content, **on_branch})
            run.builds.append(begun)
            run.heads[name] = self.head(name)
            on_branch[name] = of_days(name, computed(name, begun.read), begun.days)
            self.write(begun, run.branch)
        run.bad = frozenset(row[1] for row in on_branch.get(ORDERS, ()) if row[3] < 0)

    def audited(self, run: Run, names: Sequence[TableName]) -> Mapping[TableName, frozenset[int | None]]:
        """Judge the branch: days that are wrong on main, and that others repair, hold nobody back."""
        if FACTS not in names:
            return {}
        findings = self.judge(FACTS, run.branch)
        run.blame = Blame(self.duck_of_all, self.lake, TABLES, run.window)
        run.blame.take(FACTS, findings)
        assert not [finding for finding in findings if finding.blocks and not run.blame.excused(finding)]
        World.done["audit excused"] += len(run.blame.not_at_fault)
        return {FACTS: frozenset(finding.snapshot_id for finding in findings)}

    def judge(self, name: TableName, branch: str) -> tuple[Finding, ...]:
        """What a gate finds on a branch; silver is judged by `compute`."""
        if name != FACTS:
            return ()
        register(self.duck, self.lake, at=branch, tables=TABLES)
        sql = figure_query(AGREES, FACTS, lambda other: self.lake.relation_sql(other, branch))
        assert sql is not None
        [(found, holds)] = self.duck.execute(sql).fetchall()
        outcome = Outcome.PASSED if holds else Outcome.FAILED
        head = self.lake.look(FACTS).snapshot(branch)
        assert head is not None
        observed = f"found {found}"
        return (
            Finding(FACTS, AGREES.name, AGREES.severity, outcome, "", observed, branch=branch, snapshot_id=head.id),
        )

    def publish(self, run: Run, names: Sequence[TableName], audited: Mapping[TableName, frozenset[int | None]]) -> None:
        """As a run of models does once its tables are judged."""
        judge = partial(self.judge, branch=run.branch)
        if not run.bad:
            publish_models(self.lake, names, run.branch, audited, judge)
        elif run.bad < run.builds[0].days:
            by_days = {name: partial(self.publish_days, run, name) for name in names}
            told = publish_models(self.lake, names, run.branch, audited, judge, by_days)
            assert not told.refused, told.refused

    def publish_days(self, run: Run, name: TableName, published: Mapping[TableName, Commit]) -> Commit:
        edges = edges_of(TABLES[name], PARENTS[name], TABLES)
        excused = run.blame.excused if run.blame is not None else lambda _finding: False
        publisher = DayPublisher(self.lake, run.branch, run.window, self.judge, self.as_on_main, excused)
        commit = publisher.publish(TABLES[name], edges, set(map(date_of, run.bad)), published)
        run.brought.add(name)
        return commit

    @contextmanager
    def as_on_main(self) -> Iterator[duckdb.DuckDBPyConnection]:
        register(self.duck, self.lake, tables=TABLES)
        yield self.duck

    @contextmanager
    def duck_of_all(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Whoever asks registers what it reads; what was registered before it is in nobody's way."""
        for name in TABLES:
            self.duck.execute(f"drop view if exists {name}")
        yield self.duck

    def settle_run(self, run: Run, came: Came) -> None:
        """What has become of each table: its good days are on main, or nothing."""
        news = NOTHING
        for begun in run.builds:
            self.open.remove(begun)
            partly = begun.name in run.brought or (came.killed and run.heads[begun.name] != self.head(begun.name))
            if self.on_main(begun) or (run.bad and partly):
                good = begun.days - run.bad
                # What the run itself has brought to a parent, it has followed.
                self.model.dirty[begun.name] -= news & good
                before = self.model.dirty[FACTS]
                self.land(begun, good)
                news = self.model.dirty[FACTS] - before
                self.lose(begun, begun.days & run.bad)
            else:
                self.lose(begun, begun.days)
                if not (came.well and run.bad):
                    self.model.reasons.update((begun.name, one) for one in begun.days)
        # What is computed from a day that is held was computed along with it.
        self.model.reasons.update((FACTS, one) for one in run.bad)
        World.done["gated run"] += 1
        World.done["day held"] += len(run.bad)


def _harmless(other: dict[str, Any]) -> dict[str, Any]:
    may = other["who"] in {"source", "eraser"} or (other["table"] in OTHERS and other["who"] != "asker")
    return other if may else {**other, "who": "source"}
