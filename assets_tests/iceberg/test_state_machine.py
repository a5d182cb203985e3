"""Random sequences of writes on main and a branch, against a dictionary that does the same."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lakehouse.errors import PublishConflict
from lakehouse.iceberg import Lake, connect
from lakehouse.settings import load_settings
from lakehouse.tables import Column, Layer, Table, TableName, Window

ROOT = Path(__file__).resolve().parents[2]
DAYS = st.integers(1, 4).map(lambda number: date(2026, 1, number))
KEYS = st.lists(st.integers(0, 99), max_size=4)
BRANCH = "run/x"
COLUMNS = (Column("id", "long", required=True), Column("day", "date", required=True))


@dataclass
class Expected:
    """What a ref holds: (id, day) of every row, and the scope's progress."""

    rows: list[tuple[int, date]] = field(default_factory=list)
    progress: int | None = None

    def copy(self) -> Expected:
        return Expected(list(self.rows), self.progress)


class Writes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.settings = load_settings(
            ROOT, state=str(self.folder), catalog={"uri": f"sqlite:///{self.folder}/catalog.db"}
        )
        lake = Lake.open(self.settings)
        name = TableName(Layer.SILVER, "t")
        self.table = lake.create(Table(name, "d", "", COLUMNS, Path("t.yaml"), window_column="day"))
        self.duck = connect(self.settings)
        self.refs: dict[str, Expected] = {"main": Expected()}
        self.base: Expected | None = None
        self.keys = 0

    def teardown(self) -> None:
        self.duck.close()
        shutil.rmtree(self.folder)

    def key(self) -> str:
        self.keys += 1
        return str(self.keys)

    def ref(self, *, on_branch: bool) -> tuple[str, Expected]:
        name = BRANCH if on_branch and BRANCH in self.refs else "main"
        return name, self.refs[name]

    def batch(self, rows: list[tuple[int, date]]) -> pa.Table:
        values = {"id": [row[0] for row in rows], "day": [row[1] for row in rows]}
        return pa.table(values, schema=self.table.schema())

    @rule(ids=KEYS, day=DAYS, on_branch=st.booleans(), moves=st.booleans())
    def append(self, ids: list[int], day: date, *, on_branch: bool, moves: bool) -> None:
        name, expected = self.ref(on_branch=on_branch)
        rows = [(number, day) for number in ids]
        position = self.keys
        before = {"s": None if expected.progress is None else {"at": expected.progress}}
        self.table.append(
            self.batch(rows),
            run_key=self.key(),
            branch=name,
            progress={"s": {"at": position}} if moves else None,
            expected_progress=before,
        )
        expected.rows += rows
        if moves:
            expected.progress = position

    @rule(ids=KEYS, first=DAYS, last=DAYS, on_branch=st.booleans())
    def overwrite_window(self, ids: list[int], first: date, last: date, *, on_branch: bool) -> None:
        name, expected = self.ref(on_branch=on_branch)
        window = Window.of_days(min(first, last), max(first, last))
        rows = [(number, window.start) for number in ids]
        self.table.overwrite(self.batch(rows), where=window, run_key=self.key(), branch=name)
        expected.rows = [row for row in expected.rows if not window.start <= row[1] < window.end] + rows

    @rule(ids=KEYS, day=DAYS, on_branch=st.booleans())
    def overwrite_all(self, ids: list[int], day: date, *, on_branch: bool) -> None:
        name, expected = self.ref(on_branch=on_branch)
        rows = [(number, day) for number in ids]
        self.table.overwrite(self.batch(rows), where=None, run_key=self.key(), branch=name)
        expected.rows = rows

    @precondition(lambda self: self.keys > 0)
    @rule(day=DAYS, on_branch=st.booleans())
    def repeat_the_last_run(self, day: date, *, on_branch: bool) -> None:
        name, _ = self.ref(on_branch=on_branch)
        done = [snapshot.run_key for snapshot in self.table.snapshots(name) if snapshot.run_key is not None]
        if done:
            assert self.table.append(self.batch([(7, day)]), run_key=done[0], branch=name).already_done

    @precondition(lambda self: BRANCH not in self.refs)
    @rule()
    def branch(self) -> None:
        self.table.create_branch(BRANCH)
        self.refs[BRANCH] = self.refs["main"].copy()
        self.head = self.table.snapshots()[0].id

    @precondition(lambda self: BRANCH in self.refs)
    @rule()
    def publish(self) -> None:
        moved = self.table.snapshots()[0].id != self.head
        written = self.table.snapshots(BRANCH)[0].id != self.head
        try:
            self.table.publish(BRANCH)
        except PublishConflict:
            assert moved
            assert written
            return
        assert not (moved and written)
        branch = self.refs.pop(BRANCH)
        if written:
            self.refs["main"] = branch

    @precondition(lambda self: BRANCH in self.refs)
    @rule()
    def discard(self) -> None:
        self.table.discard(BRANCH)
        del self.refs[BRANCH]

    @invariant()
    def every_reader_agrees(self) -> None:
        assert self.table.branches() == tuple(name for name in self.refs if name != "main")
        for name, expected in self.refs.items():
            wanted = sorted(expected.rows)
            ours = [(row["id"], row["day"]) for row in self.table.scan(at=name).read_all().to_pylist()]
            theirs = self.duck.sql(f"select id, day from {self.table.relation_sql(name)}").fetchall()
            assert sorted(ours) == wanted
            assert sorted(theirs) == wanted
            assert self.table.stats(name).rows == len(wanted)
            position = self.table.progress("s", name)
            assert position == (None if expected.progress is None else {"at": expected.progress})


TestWrites = Writes.TestCase
TestWrites.settings = settings(
    max_examples=12, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
