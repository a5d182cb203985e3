"""How a model's table is computed: what a build has read, and what becomes of it when it is killed or overtaken.

Which builds are asked for is `asker.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from assets_tests.changes.machine.chain import CHAIN, PARENTS, READERS, TABLES, number_of, sql_of
from assets_tests.changes.machine.model import ALL, Content, Days, computed, days_in, of_days
from assets_tests.changes.machine.world import World
from assets_tests.iceberg.overtaking import swap_overtaken
from assets_tests.upkeep.machine.befalls import Came, killed, tried
from lakehouse.changes.edges import edges_of
from lakehouse.errors import CommitConflict, Fenced
from lakehouse.iceberg import MAIN, register
from lakehouse.tables import TableName, Window
from lakehouse.transform.write import write_model

Work = Sequence[tuple[TableName, Window | None]]


@dataclass(frozen=True)
class Build:
    """One model over one window, and what it reads: the content and the moves of its parents when it began."""

    name: TableName
    window: Window | None
    run_key: str
    read: Content
    followed: Mapping[TableName, int]
    soiled: Days = frozenset()
    files: frozenset[str] = frozenset()

    @property
    def days(self) -> Days:
        return ALL if self.window is None else frozenset(map(number_of, self.window.days))


class Builds(World):
    def __init__(self) -> None:
        self.open: list[Build] = []
        super().__init__()

    def carry_out(self, work: Work, kill: tuple[int, bool] | None = None, other: dict[str, Any] | None = None) -> Came:
        """One model after the other, until the process dies or somebody was faster."""

        def act() -> None:
            for name, window in work:
                self.build(name, window)

        if kill is not None:
            came = killed(self.catalog, kill, act)
        elif other is not None:
            with swap_overtaken(self.catalog, lambda: self.someone_acts(other), 1 + other["at"]):
                came = tried(act)
        else:
            came = tried(act)
        while self.open:
            self.settle(self.open.pop())
        assert came.well or came.killed or (other is not None and isinstance(came.error, Fenced | CommitConflict))
        return came

    def someone_acts(self, other: dict[str, Any]) -> None:
        raise NotImplementedError

    def build(self, name: TableName, window: Window | None) -> None:
        """Straight onto main."""
        register(self.duck, self.lake, tables=PARENTS[name])
        begun = self.begin_build(name, window, self.model.content)
        self.write(begun, MAIN)
        self.open.remove(begun)
        self.land(begun, begun.days)

    def begin_build(self, name: TableName, window: Window | None, read: Content) -> Build:
        begun = Build(name, window, f"build{next(self.numbers)}", dict(read), self.moves_of(PARENTS[name]))
        if name in READERS:
            soiled = self.model.clean(name, begun.days)
            begun = replace(begun, soiled=soiled, files=self.files(name, begun.days))
            self.model.times.update((name, one) for one in begun.days)
        self.open.append(begun)
        return begun

    def moves_of(self, names: Iterable[TableName]) -> Mapping[TableName, int]:
        return {name: self.model.moves[name] for name in names}

    def write(self, begun: Build, branch: str) -> None:
        name = begun.name
        write_model(
            self.lake,
            self.duck,
            TABLES[name],
            sql_of(name, begun.window),
            window=begun.window,
            branch=branch,
            run_key=begun.run_key,
            edges=edges_of(TABLES[name], PARENTS[name], TABLES) if name in READERS else (),
        )

    def settle(self, begun: Build) -> None:
        """What has become of a build that was not seen to its end: all of its window is on main, or nothing."""
        if self.on_main(begun):
            self.land(begun, begun.days)
        else:
            self.lose(begun, begun.days)
            self.model.reasons.update((begun.name, day) for day in begun.days)

    def on_main(self, begun: Build) -> bool:
        return begun.run_key in {snapshot.run_key for snapshot in self.tables[begun.name].snapshots()}

    def land(self, begun: Build, days: Days) -> None:
        """These days are on main as the build has computed them, and no file of another day was touched."""
        name, model = begun.name, self.model
        rows, touched = computed(name, begun.read), frozenset[int]()
        if name in READERS:
            old = model.content[name]
            touched = days & (days_in(name, old) | days_in(name, rows))
            rows = (old - of_days(name, old, days)) | of_days(name, rows, days)
            assert self.files(name, begun.days) == begun.files
        if name in READERS:
            model.leave(name, days)
        model.followed[name] = begun.followed
        model.moved(name, rows, touched)
        # Whatever follows it is computed along with it, even if a day was empty and is.
        model.reasons.update((child, one) for child in READERS if CHAIN[child] == name for one in days - touched)
        self.seen(name)
        World.done[f"build {name}"] += 1

    def lose(self, begun: Build, days: Days) -> None:
        """These days are on main as they were, and what had reached them has still to be followed."""
        if begun.name in READERS:
            self.model.dirty[begun.name] |= begun.soiled & days
        self.seen(begun.name)
        World.done["build lost"] += bool(days)
