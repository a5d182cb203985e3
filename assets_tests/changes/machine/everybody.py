"""All of them at one chain, and who of them may act in the middle of a run."""

from __future__ import annotations

from typing import Any

from assets_tests.changes.machine.asker import Asker
from assets_tests.changes.machine.keeper import Keeper
from assets_tests.changes.machine.source import Source
from assets_tests.changes.machine.world import World


class Everybody(Source, Keeper, Asker):
    def someone_acts(self, other: dict[str, Any]) -> None:
        """A whole step of somebody else's, while the rows of this one are written and not yet to be seen."""
        World.done[f"overtaken by {other['who']}"] += 1
        who, name = other["who"], other["table"]
        if who == "source":
            self.load(other["load"], foreign=other["pick"] % 4 == 0)
        elif who == "eraser":
            self.erase(other["pick"], payments=other["pick"] % 2 == 0)
        elif who == "compaction":
            self.compact(name)
        elif who == "expiry":
            self.expire(name, held=other["pick"] % 2 == 0)
        else:
            self.ask(-1, None, None)

    def end(self) -> None:
        self.come_to_rest()
