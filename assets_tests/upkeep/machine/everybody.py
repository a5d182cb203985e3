"""All of them at one table, and who of them may act in the middle of another's step."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis.stateful import rule

from assets_tests.iceberg.overtaking import swap_overtaken
from assets_tests.upkeep.machine.auditor import Auditor
from assets_tests.upkeep.machine.befalls import Mortal
from assets_tests.upkeep.machine.evolver import Evolver
from assets_tests.upkeep.machine.keeper import Keeper
from assets_tests.upkeep.machine.readers import Readers
from assets_tests.upkeep.machine.world import World
from assets_tests.upkeep.machine.writers import Writers


class Everybody(Writers, Auditor, Readers, Keeper, Evolver):
    def someone_acts(self, other: dict[str, Any]) -> None:
        """A whole step of somebody else's, while files of this one are written and not yet named."""
        World.done[f"overtaken by {other['who']}"] += 1
        self.files.settle(self.now)
        who, pick, rows, where = other["who"], other["pick"], other["rows"], other["where"]
        if who == "writer":
            effects = ["append", "overwrite", "delete", "merge", "merge", "merge", "replace_keys", "history"]
            run = self.new_run(effects[pick % len(effects)], rows, where, other["keyed"], "b")
            self.carry_out(run, None, None, fresh=True)
        elif who == "foreign":
            self.foreign_write(["append", "overwrite", "delete"][pick % 3], rows, where)
        elif who == "hides" and self.model.main.rows:
            self.foreign_hides(pick, len(rows))
        elif who == "evolver":
            self.evolve(["add", "rename", "promote", "partitions"][pick % 4])
        elif who == "branch":
            self.create_branch(pick, rows)
        elif self.model.line and who == "tag":
            self.tag(pick, forever=True)
        elif self.model.line and who == "expiry":
            self.expire(pick, None, None, None, far=pick % 2 == 0)
        elif self.model.line and who == "compaction":
            self.compact(1 + pick % 3, None, None, planned=pick % 2 == 0)
        elif self.model.line and who == "sweep" and self.files.ages:
            self.swept(Mortal(self.store), dry_run=False)
        self.look()

    def with_another(
        self, meanwhile: Callable[[dict[str, Any]], None], other: dict[str, Any], act: Callable[[], object]
    ) -> object:
        with swap_overtaken(self.catalog, lambda: meanwhile(other)):
            return act()

    @rule()
    def come_to_rest(self) -> None:
        """Also in the middle: readers have gone, and nothing is left over."""
        while self.readings:
            self.stop_reading(0)
        self.ahead += timedelta(hours=1)
        self.rest()

    def end(self) -> None:
        self.come_to_rest()
