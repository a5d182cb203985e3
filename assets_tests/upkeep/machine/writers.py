"""What writers do to main: our own runs, also killed, overtaken and asked for again, and another program's writes."""

from __future__ import annotations

import warnings
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from pyiceberg.manifest import DataFile, ManifestContent
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.machine.drawn import PICK, ROWS, WHERE
from assets_tests.iceberg.machine.states import BY_KEY, Keyed, Row, Where, rows_of
from assets_tests.iceberg.machine.steps import by_key
from assets_tests.upkeep.machine.drawn import KEYED, KILL, OTHER
from assets_tests.upkeep.machine.states import Run
from assets_tests.upkeep.machine.storage import plain
from assets_tests.upkeep.machine.world import World
from lakehouse.errors import CommitConflict, CommitError, RunKeyTooOld

EFFECT = st.sampled_from(
    [*["append"] * 3, "overwrite", "delete", "replace", *["merge"] * 4, *["replace_keys"] * 2, *["history"] * 3]
)
FOREIGN = st.sampled_from(["append", "append", "overwrite", "delete"])


class Writers(World):
    def __init__(self) -> None:
        super().__init__()
        self.contents: dict[str, list[Row]] = {}

    @rule(effect=EFFECT, rows=ROWS, where=WHERE, keyed=KEYED, kill=KILL, other=OTHER)
    def write(  # noqa: PLR0913, PLR0917  (what is drawn)
        self,
        effect: str,
        rows: list[Row],
        where: Where,
        keyed: Keyed,
        kill: tuple[int, bool] | None = None,
        other: dict[str, Any] | None = None,
    ) -> None:
        self.carry_out(self.new_run(effect, rows, where, keyed, "a"), kill, other, fresh=True)

    write_too = write

    @precondition(lambda self: self.runs)
    @rule(pick=PICK, kill=KILL)
    def same_run_again(self, pick: int, kill: tuple[int, bool] | None) -> None:
        """After a kill, after its snapshot has expired, after a restore, or for no reason."""
        self.carry_out(self.runs[-1 - pick % len(self.runs)], kill, None, fresh=False)

    def new_run(self, effect: str, rows: list[Row], where: Where, keyed: Keyed, scope: str) -> Run:
        number = next(self.numbers)
        fits = rows if effect in {"append", *BY_KEY} else [row for row in rows if where.means(row)]
        if effect in {"delete", "replace"}:
            fits = []
        if effect == "delete" and where.kind == "all":
            where = Where("ids", 0, 0)
        keyed = replace(keyed, gone=keyed.gone[: len(fits)])
        run = Run(f"k{number}", effect, tuple(fits), where, scope, number, datetime.now(UTC), keyed)
        self.runs.append(run)
        return run

    def carry_out(self, run: Run, kill: tuple[int, bool] | None, other: dict[str, Any] | None, *, fresh: bool) -> None:
        stands = self.model.main.progress.get(run.scope)
        promise: Any = {
            "run_key": run.key,
            "progress": {run.scope: {"at": run.at}},
            "expected_progress": {run.scope: None if stands is None else {"at": stands}},
            "issued_at": run.issued_at,
        }
        live = self.of_day(run.where.low) if run.effect == "replace" else []
        same = self.batch(self.model.main.of_day(run.where.low) if live else [])

        def act() -> object:
            if run.effect == "append":
                return self.writer.append(self.batch(run.rows), **promise)
            if run.effect == "overwrite":
                return self.writer.overwrite(self.batch(run.rows), where=run.where.ours, **promise)
            if run.effect == "delete":
                return self.writer.delete(run.where.ours or "true", **promise)
            if run.effect in BY_KEY:
                rows = self.batch(run.rows)
                return by_key(run.effect, self.writer, self.duck, rows, run.keyed, promise, World.done)
            return self.writer.replace_files(live, same, **promise)

        came = self.befallen(act, kill, other)
        nothing = run.effect == "replace" and not live
        if (came.well or came.landed) and not nothing:
            after = run.on(self.model.main)
            assert after is not None
            self.moved(after, "write")
        assert came.killed or came.well or self.may_refuse(run, came.error, other, fresh=fresh)
        ended = "killed" if came.killed else type(came.error).__name__ if came.error else "done"
        World.done[f"{run.effect} {ended}" if fresh else f"again {ended}"] += 1

    def may_refuse(self, run: Run, error: Exception | None, other: dict[str, Any] | None, *, fresh: bool) -> bool:
        """Work that somebody overtook may have to be done again; a key may be too old once it was given out before.

        A write by key does it again itself, and must refuse rows that are no history.
        """
        if run.on(self.model.main) is None:
            return type(error) is CommitError or (not fresh and isinstance(error, RunKeyTooOld))
        if not fresh:
            return isinstance(error, RunKeyTooOld)
        return run.effect not in BY_KEY and other is not None and isinstance(error, CommitConflict)

    def of_day(self, day: int) -> list[str]:
        tasks = self.stock().scan().plan_files()
        return [task.file.file_path for task in tasks if f"day=2026-01-{day:02}/" in task.file.file_path]

    @rule(effect=FOREIGN, rows=ROWS, where=WHERE)
    def foreign_write(self, effect: str, rows: list[Row], where: Where) -> None:
        """Stock PyIceberg, which promises nothing."""
        rows = rows if effect == "append" else [row for row in rows if where.means(row)]
        table, data = self.stock(), self.batch(rows)
        with warnings.catch_warnings(action="ignore"):
            if effect == "delete":
                table.delete(where.theirs)
            elif effect == "overwrite":
                table.overwrite(data, where.theirs)
            elif rows:
                table.append(data)
        main = self.model.main if effect == "append" else self.model.main.without(where)
        self.moved(main if effect == "delete" else main.plus(rows), "write")
        World.done[f"foreign {effect}"] += 1

    @precondition(lambda self: self.model.main.rows)
    @rule(pick=PICK, place=PICK)
    def foreign_hides(self, pick: int, place: int) -> None:
        """Another program deletes one row by its place in a file, as engines do that merge on read."""
        table = self.stock()
        # Not by path, which is another one each time the same steps are taken.
        tasks = sorted(table.scan().plan_files(), key=lambda task: (self.content(task.file), len(task.delete_files)))
        task = tasks[pick % len(tasks)]
        rows, hidden = self.content(task.file), self.hidden(task.delete_files, task.file)
        shown = [at for at in range(len(rows)) if at not in hidden]
        if not shown:
            return
        at = shown[place % len(shown)]
        type(self).hide(table, at, of=task.file.file_path)
        self.moved(self.model.main.minus([rows[at]]), "write")
        World.done["foreign position delete"] += 1

    foreign_hides_too = foreign_hides

    @precondition(lambda self: self.model.line)
    @rule(pick=PICK)
    def foreign_adds_again(self, pick: int) -> None:
        """Another program takes a file that main has not and some snapshot has: dropped, or staged on a branch."""
        table = self.stock()
        live = {plain(task.file.file_path) for task in table.scan().plan_files()}
        dropped: dict[str, DataFile] = {}
        for snapshot in table.metadata.snapshots:
            for task in table.scan(snapshot_id=snapshot.snapshot_id).plan_files():
                # PyIceberg takes each new file for one of the table's partitions of now.
                of_now = task.file.spec_id == table.metadata.default_spec_id
                if of_now and plain(task.file.file_path) not in live:
                    dropped[task.file.file_path] = task.file
        # DuckDB lets position deletes hide rows of files that came later, too: it would read such a file otherwise.
        for path in self.paths_under_deletes(table):
            dropped.pop(path, None)
        if not dropped:
            return
        file = sorted(dropped.values(), key=self.content)[pick % len(dropped)]
        with table.transaction() as transaction, transaction.update_snapshot().fast_append() as append:
            append.append_data_file(file)
        self.moved(self.model.main.plus(self.content(file)), "write")
        World.done["foreign adds a file again"] += 1

    def paths_under_deletes(self, table: IcebergTable) -> set[str]:
        """The data files that delete files of main are about, be they there or not."""
        head, paths = table.current_snapshot(), set[str]()
        for manifest in head.manifests(table.io) if head else ():
            if manifest.content == ManifestContent.DELETES:
                for entry in manifest.fetch_manifest_entry(table.io):
                    with table.io.new_input(entry.data_file.file_path).open() as stream:
                        paths |= set(pq.read_table(stream)["file_path"].to_pylist())
        return paths

    def content(self, file: DataFile) -> list[Row]:
        """The rows of a file, in its order."""
        if file.file_path in self.contents:
            return self.contents[file.file_path]
        with self.stock().io.new_input(file.file_path).open() as stream:
            self.contents[file.file_path] = rows_of(pq.read_table(stream), as_stored=True)
        return self.contents[file.file_path]

    def hidden(self, deletes: set[DataFile], of: DataFile) -> set[int]:
        found: set[int] = set()
        for file in deletes:
            with self.stock().io.new_input(file.file_path).open() as stream:
                rows = pq.read_table(stream).to_pylist()
            found |= {row["pos"] for row in rows if row["file_path"] == of.file_path}
        return found
