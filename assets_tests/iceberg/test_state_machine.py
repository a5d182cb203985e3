"""Two writers, an auditor, a restorer, another program and kills, in any order, against a model of what each may do.

The model is a graph of immutable states, each a set of files; what a step must do to it is said in plain Python. After
every step our scan, DuckDB and stock PyIceberg must agree with it: on the rows of every ref that moved, on its files,
its history of operations and run keys, on progress by scope; and every other ref must stand where it stood.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import BranchMissing, CommitConflict, Fenced, LakehouseError, PublishConflict, SnapshotMissing
from lakehouse.iceberg import MAIN, Lake, LakeTable, RestorePlan, connect
from lakehouse.settings import load_settings
from lakehouse.tables import Column, Layer, Table, TableName, Window

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = (Column("id", "long", required=True), Column("day", "date", required=True))
NAME = TableName(Layer.SILVER, "t")
BRANCHES = ("run/a", "run/b")
SCOPES = ("a", "b")
FLOOR = "lakehouse.progress."

Row = tuple[int, int]
"""The id and the day of January."""


@dataclass(frozen=True)
class Where:
    """Days from `low` to `high`, or ids from `low` on, or everything."""

    kind: str
    low: int
    high: int

    def means(self, row: Row) -> bool:
        number, day = row
        return {"window": self.low <= day <= self.high, "ids": number >= self.low, "all": True}[self.kind]

    @property
    def ours(self) -> Window | str | None:
        if self.kind == "window":
            return Window.of_days(_day(self.low), _day(self.high))
        return f"id >= {self.low}" if self.kind == "ids" else None

    @property
    def theirs(self) -> str:
        if self.kind == "window":
            return f"day >= '{_day(self.low)}' and day <= '{_day(self.high)}'"
        return f"id >= {self.low}" if self.kind == "ids" else "id >= 0"


@dataclass(frozen=True)
class Run:
    """One run of a writer: the same key means the same work."""

    key: str
    branch: str
    effect: str
    rows: tuple[Row, ...]
    where: Where
    writer: int
    moves: int | None
    fence: str


@dataclass(frozen=True, eq=False)
class File:
    day: int
    ids: tuple[int, ...]

    @property
    def rows(self) -> list[Row]:
        return [(number, self.day) for number in self.ids]


@dataclass(frozen=True, eq=False)
class State:
    """A snapshot, as it must be. `inner`: a step inside one commit of another program."""

    parent: State | None
    operation: str
    files: frozenset[File]
    progress: Mapping[str, int] = field(default_factory=dict)
    key: str | None = None
    of_windows: bool = False
    inner: bool = False

    @cached_property
    def history(self) -> tuple[State, ...]:
        return (self, *(self.parent.history if self.parent else ()))

    @cached_property
    def rows(self) -> list[Row]:
        return sorted(row for file in self.files for row in file.rows)

    @cached_property
    def moved(self) -> Mapping[str, int]:
        before = self.parent.progress if self.parent else {}
        return {scope: at for scope, at in self.progress.items() if before.get(scope) != at}

    def has(self, key: str | None) -> bool:
        return key is not None and any(past.key == key for past in self.history)


EMPTY = State(None, "none", frozenset())
Refs = dict[str, State]


class Refused(Exception):
    """The step must raise this error, after what the model has done until then."""

    def __init__(self, kind: type[Exception]) -> None:
        self.kind = kind
        super().__init__(kind)


class AuditFailed(Exception):
    """What an audit raises."""


class Killed(BaseException):
    """The process ends here."""


class Model:
    """Every ref (main is EMPTY until the first write), and every state that main has shown."""

    def __init__(self) -> None:
        self.refs: Refs = {MAIN: EMPTY}
        self.tags: Refs = {}
        self.shown: set[State] = set()
        self.audits = 0

    @property
    def main(self) -> State:
        return self.refs[MAIN]

    def move(self, ref: str, state: State) -> None:
        self.refs[ref] = state
        if ref == MAIN:
            self.shown.add(state)

    def head(self, ref: str, refs: Refs | None = None) -> State:
        found = (self.refs if refs is None else refs).get(ref)
        if found is None:
            raise Refused(BranchMissing)
        return found

    def run(self, run: Run, before: Refs, expected: Mapping[str, int | None]) -> None:
        """`before`: the refs when the run began; another step may have come between."""
        planned = self._check(run, before, expected)
        if planned is None:
            return
        touched, removed = _plan(run, planned)
        staying = [row for file in removed for row in file.rows if run.effect == "replace" or not run.where.means(row)]
        added = _files([*run.rows, *staying])
        if not added and not removed and run.moves is None:
            return
        head = self._check(run, self.refs, expected)
        if head is None:
            return
        if run.effect != "append" and not _same_rows_found(run, touched, head):
            raise Refused(CommitConflict)
        operation = {"append": "append", "replace": "replace"}.get(run.effect, "overwrite")
        if run.effect == "delete" and removed and not added:
            operation = "delete"
        progress = head.progress if run.moves is None else {**head.progress, SCOPES[run.writer]: run.moves}
        parent = None if head is EMPTY else head
        self.move(run.branch, State(parent, operation, (head.files - removed) | added, progress, run.key))

    def _check(self, run: Run, refs: Refs, expected: Mapping[str, int | None]) -> State | None:
        head = self.head(run.branch, refs)
        if head.has(run.key):
            return None
        if any(head.progress.get(scope) != at for scope, at in expected.items()):
            raise Refused(Fenced)
        return head

    def create(self, branch: str) -> None:
        if self.main is EMPTY:
            self.move(MAIN, State(None, "append", frozenset()))
        self.refs.setdefault(branch, self.main)

    def staged(self, branch: str, main: State | None = None) -> tuple[State, tuple[State, ...], bool]:
        """Where a branch forked, its own states (newest first), and whether main was taken back below the fork."""
        history, on_main = self.head(branch).history, (main or self.main).history
        known = {*on_main, *self.shown}
        number = next(number for number, past in enumerate(history) if past in known)
        return history[number], history[:number], history[number] not in on_main

    def on_main(self, branch: str) -> bool:
        _, ahead, taken_back = self.staged(branch)
        return not ahead and not taken_back

    def rebased(self, branch: str, main: State) -> State:
        """The branch on top of main, as it is once `rebase` has moved it."""
        fork, ahead, taken_back = self.staged(branch, main)
        if fork is main or not (ahead or taken_back):
            return self.head(branch)
        if not ahead or any(past.operation != "append" for past in ahead):
            raise Refused(PublishConflict)
        if any(past.of_windows for past in _behind(fork, main)):
            raise Refused(PublishConflict)
        head = main
        for past in reversed(ahead):
            head = self._again(head, past, _added(past))
        return head

    def publish(self, branch: str, before: Refs, audit: str) -> None:
        """`before`: the refs when it was asked for; if it began by a rebase, it began by one on main as it was."""
        audited, main = before[branch], before[MAIN]
        if self.staged(branch, main)[0] is main:
            main = self.main
        for left in reversed(range(4)):
            fork, ahead, taken_back = self.staged(branch, main)
            head = self.head(branch)
            if not ahead and not taken_back:
                del self.refs[branch]
                return
            if head is not audited:
                raise Refused(PublishConflict)
            if fork is main:
                self.move(MAIN, head)
                del self.refs[branch]
                return
            spared = not taken_back and all(past.operation == "replace" for past in _behind(fork, main))
            if not left or (audit == "none" and not spared):
                raise Refused(PublishConflict)
            audited = self.refs[branch] = self.rebased(branch, main)
            main = self.main
            if audit != "none" and not spared:
                self.audits += 1
                if audit == "fails":
                    raise Refused(AuditFailed)

    def publish_windows(self, branch: str, days: Collection[int]) -> None:
        fork, ahead, taken_back = self.staged(branch)
        if self.on_main(branch):
            del self.refs[branch]
            return
        if taken_back:
            raise Refused(PublishConflict)
        head, took, brought = self.head(branch), set[File](), set[File]()
        for day in days:
            here, then, wanted = (_of_day(state, day) for state in (self.main, fork, head))
            if here != wanted:
                if here != then:
                    raise Refused(PublishConflict)
                took |= then - wanted
                brought |= wanted - then
        main = self.main
        if took or brought:
            operation, files = "overwrite" if took else "append", (main.files - took) | brought
            self.move(MAIN, State(main, operation, files, main.progress, of_windows=True))
        if (head.files - fork.files) - self.main.files or (fork.files - head.files) & self.main.files:
            return
        for past in reversed(ahead):
            if past.key or past.moved:
                self.move(MAIN, self._again(self.main, past, frozenset()))
        del self.refs[branch]

    def _again(self, head: State, past: State, files: frozenset[File]) -> State:
        if head.has(past.key):
            return head
        before = past.parent.progress if past.parent else {}
        if any(head.progress.get(scope) != before.get(scope) for scope in past.moved):
            raise Refused(PublishConflict)
        return State(head, "append", head.files | files, {**head.progress, **past.moved}, past.key)

    def restore(self, planned: State, target: State) -> None:
        if self.main is target:
            return
        if self.main is not planned:
            raise Refused(CommitConflict)
        self.move(MAIN, target)

    def foreign(self, effect: str, ref: str, rows: list[Row], where: Where) -> frozenset[File]:
        """The files that another program's write must lead to."""
        head = self.head(ref)
        removed: set[File] = set()
        added = set(_files(rows)) if effect != "delete" else set()
        for file in head.files if effect != "append" else ():
            staying = [row for row in file.rows if not where.means(row)]
            if len(staying) < len(file.rows):
                removed.add(file)
                added |= _files(staying)
        return (head.files - removed) | added


def _behind(fork: State, main: State) -> list[State]:
    return [past for past in main.history if past not in fork.history]


def _plan(run: Run, head: State) -> tuple[frozenset[File], frozenset[File]]:
    """The files that may hold rows of the run, as their bounds tell; those that do."""
    if run.effect == "append":
        return frozenset(), frozenset()
    if run.effect == "replace":
        files = _of_day(head, run.where.low)
        return files, files
    may = frozenset(file for file in head.files if run.where.means((max(file.ids), file.day)))
    return may, frozenset(file for file in may if any(run.where.means(row) for row in file.rows))


def _same_rows_found(run: Run, touched: frozenset[File], head: State) -> bool:
    return touched <= head.files if run.effect == "replace" else _plan(run, head)[0] == touched


def _files(rows: Collection[Row]) -> frozenset[File]:
    """One write makes one file a day."""
    days = {day for _, day in rows}
    return frozenset(File(day, tuple(sorted(number for number, of in rows if of == day))) for day in days)


def _of_day(state: State, day: int) -> frozenset[File]:
    return frozenset(file for file in state.files if file.day == day)


def _added(state: State) -> frozenset[File]:
    return state.files - (state.parent.files if state.parent else frozenset())


def _day(number: int) -> date:
    return date(2026, 1, number)


ROWS = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3)), max_size=3)
WHERE = st.one_of(
    st.builds(lambda a, b: Where("window", min(a, b), max(a, b)), st.integers(1, 3), st.integers(1, 3)),
    st.integers(0, 9).map(lambda low: Where("ids", low, low)),
    st.just(Where("all", 1, 1)),
)
PICK = st.integers(0, 11)
WRITER = st.integers(0, 1)
EFFECT = st.sampled_from(["append", "append", "append", "overwrite", "overwrite", "delete", "replace"])
FENCE = st.sampled_from(["none", "right", "right", "stale"])
RUN = st.fixed_dictionaries(
    {
        "effect": EFFECT,
        "pick": PICK,
        "rows": ROWS,
        "where": WHERE,
        "writer": WRITER,
        "moves": st.booleans(),
        "fence": FENCE,
    }
)
FOREIGN = st.sampled_from(["append", "append", "overwrite", "delete"])
KILL = st.none() | st.tuples(st.integers(0, 3), st.booleans())
"""The swap of the catalog at which the process dies, and whether it lands; None: it lives."""


class Protocol(RuleBasedStateMachine):
    duck: ClassVar[duckdb.DuckDBPyConnection | None] = None
    done: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        uri = f"sqlite:///{self.folder}/catalog.db"
        lake_settings = load_settings(ROOT, state=str(self.folder), catalog={"uri": uri})
        Protocol.duck = Protocol.duck or connect(lake_settings)
        Lake.open(lake_settings).create(Table(NAME, "d", "", COLUMNS, Path("t.yaml"), window_column="day"))
        # Each has opened the lake for itself, as processes do: writers, then the auditor, the restorer.
        self.writers = [Lake.open(lake_settings).table(NAME) for _ in SCOPES]
        self.auditor, self.restorer = (Lake.open(lake_settings).table(NAME) for _ in range(2))
        self.stock = SqlCatalog(lake_settings.catalog.name, uri=uri, warehouse=lake_settings.warehouse)
        self.schema = self.auditor.schema()
        self.model = Model()
        self.runs: list[Run] = []
        self.plan: tuple[RestorePlan, State, State] | None = None
        self.ids: dict[State, int] = {}
        self.paths: dict[File, str] = {}
        self.read: Refs = {MAIN: EMPTY}
        self.numbers = count(1)
        Protocol.done["examples"] += 1

    def teardown(self) -> None:
        self.stock.engine.dispose()
        shutil.rmtree(self.folder)

    # What writers do.

    @rule(drawn=RUN)
    def write(self, drawn: dict[str, Any]) -> None:
        self.carry_out(self.new_run(**drawn))

    @rule(drawn=RUN, landed=st.booleans())
    def killed_write(self, drawn: dict[str, Any], *, landed: bool) -> None:
        run = self.new_run(**drawn)
        self.carry_out(run, kill=(0, landed))

    @precondition(lambda self: self.runs)
    @rule(pick=PICK, fence=FENCE)
    def same_run_again(self, pick: int, fence: str) -> None:
        """After a kill, a failed audit, a discard, a restore, or for no reason."""
        self.carry_out(replace(self.runs[-1 - pick % len(self.runs)], fence=fence))

    @rule(drawn=RUN, other=RUN, foreign=st.booleans())
    def write_overtaken(self, drawn: dict[str, Any], other: dict[str, Any], *, foreign: bool) -> None:
        """The other write lands after the first has planned, and before its swap."""
        run = self.new_run(**drawn)
        self.carry_out(run, meanwhile=lambda: self.someone_writes(other, foreign=foreign))

    @rule(effect=FOREIGN, pick=PICK, rows=ROWS, where=WHERE)
    def foreign_write(self, effect: str, pick: int, rows: list[Row], where: Where) -> None:
        ref = self.ref(pick)
        rows = rows if effect == "append" else [row for row in rows if where.means(row)]
        table, data = self.stock.load_table(NAME.key), self.batch(rows)
        with warnings.catch_warnings(action="ignore"):
            if effect == "delete":
                table.delete(where.theirs, branch=ref)
            elif effect == "overwrite":
                table.overwrite(data, where.theirs, branch=ref)
            elif rows:
                table.append(data, branch=ref)
        self.adopt(ref, self.model.foreign(effect, ref, rows, where))
        Protocol.done[f"foreign {effect}"] += 1

    # What the auditor does.

    @precondition(lambda self: len(self.model.refs) <= len(BRANCHES))
    @rule(pick=PICK, kill=KILL)
    def create_branch(self, pick: int, kill: tuple[int, bool] | None) -> None:
        branch = BRANCHES[pick % len(BRANCHES)]
        with killed(kill):
            self.auditor.create_branch(branch)
        self.agree("create", lambda: self.auditor.create_branch(branch), lambda: self.model.create(branch))

    @precondition(lambda self: len(self.model.refs) > 1)
    @rule(
        pick=PICK,
        audit=st.sampled_from(["none", "passes", "passes", "fails"]),
        kill=KILL,
        other=st.none() | RUN,
        foreign=st.booleans(),
    )
    def publish(
        self, pick: int, audit: str, kill: tuple[int, bool] | None, other: dict[str, Any] | None, *, foreign: bool
    ) -> None:
        """Killed, it is asked for again; else somebody may write between plan and swap."""
        branch, seen = self.branch(pick), list[list[Row]]()
        before, audits = dict(self.model.refs), self.model.audits

        def check() -> None:
            seen.append(self.scanned(branch))
            if audit == "fails":
                raise AuditFailed

        def act() -> None:
            self.auditor.publish(branch, audit=None if audit == "none" else check)

        def model() -> None:
            if before[branch] is not self.model.refs.get(branch) and was_on_main:
                # Nothing was left to publish, and the branch has work of its own since.
                return
            self.model.publish(branch, before, audit)

        was_on_main = self.model.on_main(branch)
        if kill is not None:
            self.ask_again("publish", act, model, kill, branch)
            return
        meanwhile = (lambda: self.someone_writes(other, foreign=foreign)) if other else None
        self.agree("publish", act, model, meanwhile)
        assert len(seen) == self.model.audits - audits
        if seen:
            assert seen[-1] == (self.model.refs[branch] if audit == "fails" else self.model.main).rows

    @precondition(lambda self: len(self.model.refs) > 1)
    @rule(pick=PICK, days=st.sets(st.integers(1, 3), min_size=1), kill=KILL)
    def publish_windows(self, pick: int, days: set[int], kill: tuple[int, bool] | None) -> None:
        branch = self.branch(pick)
        windows = [Window.of_days(_day(day), _day(day)) for day in days]
        self.ask_again(
            "windows",
            lambda: self.auditor.publish(branch, windows=windows),
            lambda: self.model.publish_windows(branch, days),
            kill,
            branch,
        )

    @precondition(lambda self: len(self.model.refs) > 1)
    @rule(pick=PICK, kill=KILL)
    def rebase(self, pick: int, kill: tuple[int, bool] | None) -> None:
        branch = self.branch(pick)

        def model() -> None:
            self.model.refs[branch] = self.model.rebased(branch, self.model.main)

        self.ask_again("rebase", lambda: self.auditor.rebase(branch), model, kill, branch)

    @precondition(lambda self: len(self.model.refs) > 1)
    @rule(pick=PICK)
    def discard(self, pick: int) -> None:
        branch = self.branch(pick)
        self.auditor.discard(branch)
        del self.model.refs[branch]
        Protocol.done["discard"] += 1

    @precondition(lambda self: self.model.main is not EMPTY and len(self.model.tags) < 2)
    @rule(pick=PICK)
    def tag(self, pick: int) -> None:
        ref, name = self.ref(pick), f"keep/{next(self.numbers)}"
        self.auditor.tag(name, ref)
        self.model.tags[name] = self.model.head(ref)
        Protocol.done["tag"] += 1

    # What the restorer does.

    @precondition(lambda self: self.model.main is not EMPTY)
    @rule(pick=PICK, by_run=st.booleans())
    def plan_restore(self, pick: int, *, by_run: bool) -> None:
        """To one of main's past, to before a run, or to what a restore has undone."""
        main = self.model.main
        undone = [past for past in self.model.shown if main in past.history[1:]]
        targets = [*main.history, *sorted(undone, key=lambda state: self.ids[state])]
        target = [past for past in targets if not past.inner][-1 - pick % min(len(targets), 4) :][0]
        if by_run and (keys := [past.key for past in main.history if past.key is not None]):
            key = keys[pick % len(keys)]
            first = [past for past in main.history if past.key == key][-1]
            if first.parent is None:
                with pytest.raises(SnapshotMissing):
                    self.restorer.plan_restore(before_run=key)
                return
            plan, target = self.restorer.plan_restore(before_run=key), first.parent
        else:
            plan = self.restorer.plan_restore(to=self.ids[target])
        assert (plan.to_id, plan.rows_before, plan.rows_after) == (
            self.ids[target],
            len(main.rows),
            len(target.rows),
        )
        assert plan.progress_after == {scope: {"at": at} for scope, at in target.progress.items()}
        self.plan = (plan, main, target)

    @precondition(lambda self: self.plan is not None)
    @rule(kill=KILL)
    def restore(self, kill: tuple[int, bool] | None) -> None:
        """Perhaps long after it was planned."""
        assert self.plan is not None
        plan, planned, target = self.plan
        moves = self.model.main is planned is not target
        self.ask_again(
            "restore", lambda: self.restorer.restore(plan), lambda: self.model.restore(planned, target), kill, MAIN
        )
        assert not moves or self.ids[planned] in self.restorer.tags().values()
        self.plan = None

    # How a step is carried out.

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
        files = _of_day(head, run.where.low)

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
            came = _outcome(act)
        if not reached:
            assert came is _outcome(model)
        elif kill[1]:
            model()
        Protocol.done[f"{run.effect} killed, landed {kill[1]}" if reached else run.effect] += 1

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
            Protocol.done[f"{what} refused before a kill"] += 1
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
        with overtaken(meanwhile):
            came = _outcome(act)
        assert (what, came) == (what, _outcome(model))
        Protocol.done[f"{what}: {came.__name__}" if came else what] += 1

    def someone_writes(self, drawn: dict[str, Any], *, foreign: bool) -> None:
        if foreign:
            effect = {"replace": "append"}.get(drawn["effect"], drawn["effect"])
            self.look()
            self.foreign_write(effect, drawn["pick"], drawn["rows"], drawn["where"])
        else:
            self.carry_out(self.new_run(**drawn))
        Protocol.done["overtaken"] += 1
        self.look()

    def adopt(self, ref: str, files: frozenset[File]) -> None:
        """Another program has come to these files; how many snapshots that took is its own affair."""
        head = self.model.head(ref)
        past = [snapshot.operation for snapshot in self.auditor.snapshots(ref)]
        fresh = past[: len(past) - len(head.history) + (head is EMPTY)]
        assert fresh or files == head.files
        for number, operation in enumerate(reversed(fresh), start=1):
            last = number == len(fresh)
            parent = None if head is EMPTY else head
            head = State(parent, operation, files, head.progress, inner=not last)
            self.model.move(ref, head)

    def ref(self, pick: int) -> str:
        names = sorted(self.model.refs)
        return names[pick % len(names)]

    def branch(self, pick: int) -> str:
        names = sorted(set(self.model.refs) - {MAIN})
        return names[pick % len(names)]

    def batch(self, rows: Collection[Row]) -> pa.Table:
        values = {"id": [number for number, _ in rows], "day": [_day(day) for _, day in rows]}
        return pa.table(values, schema=self.schema)

    def scanned(self, at: str | int) -> list[Row]:
        return _sorted(self.auditor.scan(at=at).read_all())

    # What must be so after each step.

    @invariant()
    def every_reader_agrees(self) -> None:
        Protocol.done["steps"] += 1
        self.look()

    def look(self) -> None:
        stock = self.stock.load_table(NAME.key)
        heads = {name: ref.snapshot_id for name, ref in stock.metadata.refs.items() if not name.startswith("rebase/")}
        for name, state in self.model.refs.items():
            if self.read.get(name) is not state:
                self.read_ref(name, state, stock)
        # The floor of progress is the table's, so that a move of one ref might change what another one says.
        for name, state in self.model.refs.items() if self.read != self.model.refs else ():
            for scope in SCOPES:
                at = state.progress.get(scope)
                assert self.writers[0].progress(scope, name) == (None if at is None else {"at": at})
        self.read = dict(self.model.refs)
        wanted = {**self.model.refs, **self.model.tags}
        assert {name: snapshot for name, snapshot in heads.items() if not name.startswith("restored/")} == {
            name: self.ids[state] for name, state in wanted.items() if state is not EMPTY
        }
        floor = {key.removeprefix(FLOOR): text for key, text in stock.properties.items() if key.startswith(FLOOR)}
        assert floor == {scope: f'{{"at":{at}}}' for scope, at in self.model.main.progress.items()}

    def read_ref(self, name: str, state: State, stock: IcebergTable) -> None:
        table: LakeTable = self.writers[0]
        past = table.snapshots(name)
        assert [(one.operation, one.run_key) for one in past] == [(one.operation, one.key) for one in state.history]
        self.ids.update(zip(state.history, [one.id for one in past], strict=True))
        assert self.scanned(name) == state.rows
        assert Protocol.duck is not None
        theirs = Protocol.duck.sql(f"select id, day from {table.relation_sql(name)}").fetchall()
        assert sorted((number, day.day) for number, day in theirs) == state.rows
        scan = stock.scan(snapshot_id=past[0].id)
        assert _sorted(scan.to_arrow()) == state.rows
        self.same_files(state, {task.file.file_path for task in scan.plan_files()})

    def same_files(self, state: State, live: set[str]) -> None:
        """The files that stayed are the same ones; each new one holds what one of the model's new ones holds."""
        fresh = live - {self.paths[file] for file in state.files if file in self.paths}
        unnamed = {file for file in state.files if file not in self.paths}
        assert len(fresh) == len(unnamed)
        for path in fresh:
            rows = _sorted(pq.read_table(path.removeprefix("file://"), partitioning=None))
            file = next(file for file in unnamed if file.rows == rows)
            unnamed.remove(file)
            self.paths[file] = path


def _sorted(table: pa.Table) -> list[Row]:
    pairs = zip(table["id"].to_pylist(), table["day"].to_pylist(), strict=True)
    return sorted((number, day.day) for number, day in pairs)


def _outcome(step: Callable[[], object]) -> type[Exception] | None:
    """The error that a step ends with, or that the model says it must end with."""
    try:
        step()
    except Refused as refused:
        return refused.kind
    except (LakehouseError, AuditFailed) as error:
        return type(error)
    return None


@contextmanager
def killed(at: tuple[int, bool] | None) -> Iterator[list[bool]]:
    """End the block at this swap of the catalog, before or after it lands; nothing is swapped afterwards."""
    honest, numbers, reached = SqlCatalog.commit_table, count(), list[bool]()

    def swap(*arguments: Any) -> Any:  # noqa: ANN401  (PyIceberg's own)
        number = next(numbers)
        if at is None or number < at[0]:
            return honest(*arguments)
        if number == at[0] and at[1]:
            honest(*arguments)
        reached.append(at[1])
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqlCatalog, "commit_table", swap)
        try:
            yield reached
        except Killed:
            return


@contextmanager
def overtaken(meanwhile: Callable[[], None] | None) -> Iterator[None]:
    """Let somebody write just before the block's first swap."""
    honest = SqlCatalog.commit_table
    with pytest.MonkeyPatch.context() as patch:

        def swap(*arguments: Any) -> Any:  # noqa: ANN401  (PyIceberg's own)
            patch.undo()
            if meanwhile is not None:
                meanwhile()
            return honest(*arguments)

        patch.setattr(SqlCatalog, "commit_table", swap)
        yield


def test_a_branch_of_another_programs_rows_does_not_take_mains_progress_for_its_own() -> None:
    machine = Protocol()
    machine.foreign_write("append", 0, [(1, 1)], Where("all", 1, 1))
    machine.look()
    machine.create_branch(0, None)
    machine.look()
    machine.carry_out(machine.new_run("append", 0, [(2, 1)], Where("all", 1, 1), 0, moves=True, fence="right"))
    machine.look()
    machine.teardown()


def _explore(examples: int, steps: int) -> None:
    Protocol.done.clear()
    run_state_machine_as_test(
        Protocol,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=tuple(set(Phase) - {Phase.explain}),
        ),
    )


def test_no_order_of_steps_loses_or_doubles_a_row() -> None:
    _explore(12, 20)
    assert Protocol.done["steps"] >= 12


@pytest.mark.services
def test_no_order_of_steps_loses_or_doubles_a_row_at_length(capfd: pytest.CaptureFixture[str]) -> None:
    _explore(200, 30)
    with capfd.disabled():
        told = ", ".join(f"{what} {times}" for what, times in sorted(Protocol.done.items()))
        sys.stderr.write(f"\nstate machine: {told}\n")
    assert Protocol.done["examples"] >= 200
