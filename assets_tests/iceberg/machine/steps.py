"""How a step is carried out: once, killed and asked for again, or with somebody between its plan and its swap.

Which steps there are belongs in `writers.py`, `foreign.py`, `auditor.py` and `restorer.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog

from assets_tests.iceberg.machine.model import AuditFailed, Refused
from assets_tests.iceberg.machine.states import EMPTY, SCOPES, Row, Run, Where, of_day
from assets_tests.iceberg.machine.swaps import killed
from assets_tests.iceberg.machine.world import World
from assets_tests.iceberg.overtaking import swap_overtaken
from lakehouse.errors import LakehouseError
from lakehouse.iceberg import MAIN, LakeTable


class Steps(World):
    def new_run(  # noqa: PLR0913  (what is drawn)
        self, effect: str, pick: int, rows: list[Row], where: Where, writer: int, *, moves: bool, fence: str
    ) -> Run:
        number = next(self.numbers)
        fits = [] if effect in {"delete", "replace"} else rows
        if effect == "overwrite":
            fits = [row for row in rows if where.means(row)]
        if effect == "delete" and where.kind == "all":
            where = Where("ids", 0, 0)
        position = number if moves and effect != "replace" else None
        run = Run(f"k{number}", self.ref(pick), effect, tuple(fits), where, writer, position, fence)
        self.runs.append(run)
        return run

    def carry_out(
        self, run: Run, *, kill: tuple[int, bool] | None = None, meanwhile: Callable[[], None] | None = None
    ) -> None:
        before, scope = dict(self.model.refs), SCOPES[run.writer]
        head = before.get(run.branch, EMPTY)
        stands = head.progress.get(scope)
        expected = {"none": {}, "right": {scope: stands}, "stale": {scope: -1 if stands is None else None}}[run.fence]
        files = of_day(head, run.where.low)

        def act() -> None:
            table: LakeTable = self.writers[run.writer]
            promise: Any = {
                "run_key": run.key,
                "branch": run.branch,
                "progress": None if run.moves is None else {scope: {"at": run.moves}},
                "expected_progress": {of: None if at is None else {"at": at} for of, at in expected.items()},
            }
            if run.effect == "append":
                table.append(self.batch(run.rows), **promise)
            elif run.effect == "overwrite":
                table.overwrite(self.batch(run.rows), where=run.where.ours, **promise)
            elif run.effect == "delete":
                table.delete(run.where.ours or "true", **promise)
            else:
                rows = self.batch([row for file in files for row in file.rows])
                table.replace_files([self.paths[file] for file in files], rows, **promise)

        def model() -> None:
            self.model.run(run, before, expected)

        if kill is None:
            self.agree(run.effect, act, model, meanwhile)
            return
        came: type[Exception] | None = None
        with killed(kill) as reached:
            came = outcome(act)
        if not reached:
            assert came is outcome(model)
        elif kill[1]:
            model()
        World.done[f"{run.effect} killed, landed {kill[1]}" if reached else run.effect] += 1

    def ask_again(
        self, what: str, act: Callable[[], object], model: Callable[[], None], kill: tuple[int, bool] | None, ref: str
    ) -> None:
        """Killed once, then carried out: as if it had never been killed, and main has shown nothing else between."""
        if kill is None:
            self.agree(what, act, model)
            return
        before = self.model.main.rows
        was_there = ref in self.model.refs
        try:
            with killed(kill):
                act()
        except (LakehouseError, AuditFailed):
            # The same must come again.
            World.done[f"{what} refused before a kill"] += 1
        between = self.scanned(MAIN)
        if was_there and ref != MAIN and ref not in self.auditor.branches():
            # It died after its last step.
            model()
            assert ref not in self.model.refs
        else:
            self.agree(f"{what} after a kill", act, model)
        assert between in (before, self.model.main.rows)

    def agree(
        self,
        what: str,
        act: Callable[[], object],
        model: Callable[[], None],
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        """The step and the model come to the same end; somebody may come between plan and swap."""
        with swap_overtaken(SqlCatalog, meanwhile or nothing):
            came = outcome(act)
        assert (what, came) == (what, outcome(model))
        World.done[f"{what}: {came.__name__}" if came else what] += 1


def nothing() -> None:
    """Nobody comes between."""


def outcome(step: Callable[[], object]) -> type[Exception] | None:
    """The error that a step ends with, or that the model says it must end with."""
    try:
        step()
    except Refused as refused:
        return refused.kind
    except (LakehouseError, AuditFailed) as error:
        return type(error)
    return None
