"""How a step is carried out: once, killed and asked for again, or with somebody between its plan and its swap.

Which steps there are belongs in `writers.py`, `foreign.py`, `auditor.py` and `restorer.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import duckdb
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

from assets_tests.iceberg.machine.model import AuditFailed, Refused
from assets_tests.iceberg.machine.states import BY_KEY, EMPTY, SCOPES, Keyed, Row, Run, Where, of_day
from assets_tests.iceberg.machine.swaps import killed
from assets_tests.iceberg.machine.world import World
from assets_tests.iceberg.overtaking import swap_overtaken
from lakehouse.errors import LakehouseError
from lakehouse.iceberg import MAIN, Commit, LakeTable, Way


class Steps(World):
    def new_run(  # noqa: PLR0913  (what is drawn)
        self,
        effect: str,
        pick: int,
        rows: list[Row],
        where: Where,
        writer: int,
        *,
        moves: bool,
        fence: str,
        by: str = "id",
        way: Way | None = None,
        gone: Sequence[bool] = (),
    ) -> Run:
        number = next(self.numbers)
        fits = [] if effect in {"delete", "replace"} else rows
        if effect == "overwrite":
            fits = [row for row in rows if where.means(row)]
        if effect == "delete" and where.kind == "all":
            where = Where("ids", 0, 0)
        position = number if moves and effect != "replace" else None
        keyed = Keyed(by, way, tuple(gone[: len(fits)]) if effect in {"merge", "history"} else ())
        run = Run(f"k{number}", self.ref(pick), effect, tuple(fits), where, writer, position, fence, keyed)
        self.runs.append(run)
        return run

    def carry_out(
        self, run: Run, *, kill: tuple[int, bool] | None = None, meanwhile: Callable[[], None] | None = None
    ) -> None:
        before, scope = dict(self.model.refs), SCOPES[run.writer]
        head = before.get(run.branch, EMPTY)
        stands = head.progress.get(scope)
        expected = {"none": {}, "right": {scope: stands}, "stale": {scope: -1 if stands is None else None}}[run.fence]
        files, split = of_day(head, run.where.low), self.model.split

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
            elif run.effect in BY_KEY:
                rows = self.batch(run.rows)
                by_key(run.effect, table, World.connection(), rows, run.keyed, promise, World.done)
            else:
                rows = self.batch([row for file in files for row in head.live(file)])
                table.replace_files([self.paths[file] for file in files], rows, **promise)

        def model() -> None:
            self.model.run(run, before, expected, split=split)

        if kill is None:
            self.agree(run.step, act, model, meanwhile)
            return
        came: type[Exception] | None = None
        with killed(kill) as reached:
            came = outcome(act)
        if not reached:
            assert came is outcome(model)
        elif kill[1]:
            model()
        World.done[f"{run.step} killed, landed {kill[1]}" if reached else run.step] += 1

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


def by_key(  # noqa: PLR0913, PLR0917  (of either machine)
    effect: str,
    table: LakeTable,
    connection: duckdb.DuckDBPyConnection,
    rows: pa.Table,
    keyed: Keyed,
    promise: Any,  # noqa: ANN401  (what every effect takes)
    done: Counter[str],
) -> Commit:
    """Merge, replace keys or tell a history, and count what became of the rows and files."""
    given = {"way": keyed.way, "connection": connection, **promise}
    if effect == "replace_keys":
        commit = table.replace_keys(rows, key=keyed.columns, **given)
    else:
        marked = rows.append_column("gone", pa.array(keyed.gone, pa.bool_()))
        commit = (
            table.merge(marked, key=keyed.columns, sequence="day" if keyed.sequence else None, deleted="gone", **given)
            if effect == "merge"
            else history(table, marked, keyed, given)
        )
    if commit.operation != "none" and not commit.already_done:
        told = json.loads(table.snapshots(commit.branch)[0].summary["lakehouse.merge"])
        counts = {what: told[what] for what in ("updated", "inserted", "deleted", "outdated") if what in told}
        said = {"merge": "merged", "replace_keys": "replaced keys", "history": "versions"}[effect]
        done.update({f"{said} {what}": count for what, count in counts.items()})
        done[f"{effect} of several rounds"] += told["rounds"] > 1
        done.update({f"files by {way}": told.get(way, 0) for way in Way})
    return commit


def history(table: LakeTable, rows: pa.Table, keyed: Keyed, given: Any) -> Commit:  # noqa: ANN401  (what each takes)
    """A version from day to end, of nothing but the id; beside the rows nothing is remembered."""
    until = rows.schema.names[2]
    return table.history(
        rows.drop_columns(until),
        key="id",
        effective="day",
        valid_from="day",
        valid_to=until,
        current=None,
        tracked=(),
        deleted="gone",
        complete=keyed.complete,
        late=timedelta(0),
        **given,
    )


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
