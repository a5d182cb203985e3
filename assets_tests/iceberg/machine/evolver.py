"""What the evolver does: lets the table follow a changed contract, by itself and in the middle of a write.

No state changes by that: rows, files and refs are what they were, and whoever writes goes on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis.stateful import rule

from assets_tests.iceberg.machine.drawn import EVOLVE, KILL, RUN
from assets_tests.iceberg.machine.steps import Steps
from assets_tests.iceberg.machine.swaps import killed
from assets_tests.iceberg.machine.world import World
from lakehouse.tables import Column, PartitionField, Table


class Evolver(Steps):
    @rule(what=EVOLVE, kill=KILL)
    def evolve(self, what: str, kill: tuple[int, bool] | None = None) -> None:
        """Killed, it is asked for again."""
        self.declared = evolved(self.declared, what)
        with killed(kill):
            self.evolver.create(self.declared)
        self.evolver.create(self.declared)
        self.model.split = bool(self.declared.partition_by)
        World.done[f"evolve: {what}"] += 1

    @rule(drawn=RUN, what=EVOLVE)
    def write_evolved(self, drawn: dict[str, Any], what: str) -> None:
        """The table follows its new contract after the write has planned, and before its swap."""
        run = self.new_run(**drawn)
        self.carry_out(run, meanwhile=lambda: self.evolve(what))
        World.done[f"evolved in {run.step}"] += 1


def evolved(table: Table, what: str) -> Table:
    """A contract with a column more, another name of the end, a wider id (each is done once), or other partitions."""
    if what == "partitions":
        return replace(table, partition_by=() if table.partition_by else (PartitionField("id", "bucket[1]"),))
    number, day, until, *more = table.columns
    if what == "promote":
        number = replace(number, type="long")
    elif what == "rename":
        until = replace(until, name="ended" if until.name == "until" else "until", renamed_from=until.name)
    elif not more:
        more = [Column("note", "string")]
    return replace(table, columns=(number, day, until, *more))
