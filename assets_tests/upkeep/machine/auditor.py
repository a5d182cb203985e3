"""What the auditor and the restorer do: branches, publishing, going back. All work on branches is appends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from pyiceberg.table.metadata import TableMetadata

from assets_tests.iceberg.machine.drawn import PICK, ROWS
from assets_tests.iceberg.machine.states import Keyed, Row, january
from assets_tests.iceberg.machine.steps import by_key
from assets_tests.upkeep.machine.drawn import BY, KEYED, KILL, OTHER
from assets_tests.upkeep.machine.states import Branch
from assets_tests.upkeep.machine.world import World
from lakehouse.errors import BranchMissing, CommitError, PublishConflict
from lakehouse.tables import Window

BRANCHES = ("run/a", "run/b")
HARMLESS = {"rewrite"}
"""Kinds of steps after which a branch is published without another audit."""


class Auditor(World):
    @precondition(lambda self: len(self.model.branches) < len(BRANCHES))
    @rule(pick=PICK, rows=ROWS, keyed=st.none() | KEYED, by=BY)
    def create_branch(self, pick: int, rows: list[Row], keyed: Keyed | None = None, by: str = "merge") -> None:
        name = BRANCHES[pick % len(BRANCHES)]
        if name not in self.model.branches:
            self.auditor.create_branch(name)
            # The first branch of an empty table brings an empty snapshot.
            self.moved(self.model.main, "write")
            self.model.branches[name] = Branch(next(self.numbers), self.model.main)
            World.done["branch"] += 1
        self.stage(name, rows, keyed, by, None)

    @precondition(lambda self: self.model.branches)
    @rule(pick=PICK, rows=ROWS, keyed=st.none() | KEYED, by=BY, kill=KILL)
    def write_to_a_branch(
        self, pick: int, rows: list[Row], keyed: Keyed | None, by: str, kill: tuple[int, bool] | None
    ) -> None:
        self.stage(self.branch(pick), rows, keyed, by, kill)

    def stage(self, name: str, rows: list[Row], keyed: Keyed | None, by: str, kill: tuple[int, bool] | None) -> None:
        """Append to a branch, or write to it by key."""
        branch, number = self.model.branches[name], next(self.numbers)
        key = f"k{number}"
        promise: Any = {"run_key": key, "branch": name, "progress": {name: {"at": number}}}
        of = None if keyed is None else replace(keyed, gone=keyed.gone[: len(rows)])

        def act() -> object:
            if of is None:
                return self.auditor.append(self.batch(rows), **promise)
            return by_key(by, self.auditor, self.duck, self.batch(rows), of, promise, World.done)

        came = self.befallen(act, kill)
        after = branch.state.plus(rows) if of is None else branch.state.merged(by, rows, of)
        assert came.well or came.killed or (after is None and type(came.error) is CommitError)
        if came.well or (came.landed and came.killed and after is not None):
            assert after is not None
            branch.state = after.by(name, number, key)
            branch.merged = branch.merged or of is not None
            branch.rows += rows
            branch.progress[name] = number
            branch.keys.add(key)
        World.done["append to a branch" if of is None else f"{by} into a branch"] += 1

    @precondition(lambda self: self.model.branches)
    @rule(pick=PICK, audit=st.booleans(), kill=KILL, other=OTHER)
    def publish(self, pick: int, kill: tuple[int, bool] | None, other: dict[str, Any] | None, *, audit: bool) -> None:
        name = self.branch(pick)
        merges = self.model.branches[name].merged
        before = self.stock().metadata
        must = kill is None and other is None and self.may_be_published(name, before, audit=audit)
        came = self.befallen(lambda: self.auditor.publish(name, audit=(lambda: None) if audit else None), kill, other)
        refused = PublishConflict if name in self.model.branches else BranchMissing
        # How far loads had come when the branch began is forgotten, where another program's commit was main's head.
        forgotten = type(came.error) is CommitError
        assert came.well or forgotten or not must, came.error
        assert came.well or forgotten or came.killed or isinstance(came.error, refused), came.error
        self.adopt(name, before, published=came.well)
        ended = "killed" if came.killed else type(came.error).__name__ if came.error else "done"
        World.done[f"publish {ended}"] += 1
        World.done[f"publish of merges {ended}"] += merges

    publish_too = publish

    def may_be_published(self, name: str, metadata: TableMetadata, *, audit: bool) -> bool:
        """Nothing that the commit protocol promises stands in the way; expiry has left both ways back to the fork."""
        heads = {head for head, _ in self.model.line}
        ways = [self.past(metadata, ref) for ref in (name, "main")]
        fork = next((number for number in ways[0] if number in heads), None)
        if fork is None or fork not in ways[1]:
            return False
        if (self.paths(self.past(metadata, name)[0]) - self.paths(fork)) & self.paths(metadata.current_snapshot_id):
            # Another program has brought files of the branch to main.
            return False
        kinds = self.model.since(fork)
        if self.model.branches[name].merged:
            return not kinds
        return kinds <= HARMLESS or (audit and kinds <= {*HARMLESS, "write", "publish"})

    def paths(self, snapshot_id: int | None) -> set[str]:
        return {task.file.file_path for task in self.stock().scan(snapshot_id=snapshot_id).plan_files()}

    def past(self, metadata: TableMetadata, ref: str) -> list[int]:
        found, snapshot = list[int](), metadata.snapshot_by_name(ref)
        while snapshot is not None:
            found.append(snapshot.snapshot_id)
            parent = snapshot.parent_snapshot_id
            snapshot = None if parent is None else metadata.snapshot_by_id(parent)
        return found

    def adopt(self, name: str, before: TableMetadata, *, published: bool) -> None:
        """What a publish has come to, killed and refused ones too: on main or not, put on top of it or not."""
        branch = self.model.branches.get(name)
        if branch is None:
            return
        metadata = self.stock().metadata
        at = metadata.refs.get(name)
        head, was = metadata.current_snapshot_id, before.refs[name].snapshot_id
        stands = at is not None and at.snapshot_id != head
        if not stands and (published or at is None or head != before.current_snapshot_id):
            if head == was != before.current_snapshot_id:
                self.moved(branch.state, "publish")
            elif head != before.current_snapshot_id:
                self.moved(branch.onto(self.model.main), "publish")
            self.model.branches[name] = Branch(next(self.numbers), self.model.main)
        elif at is not None and at.snapshot_id not in self.model.states:
            # Not what somebody has written to it meanwhile, which was looked at then.
            branch.state = branch.onto(self.model.main)
            branch.fork = self.model.main
        if at is None:
            del self.model.branches[name]

    @precondition(lambda self: self.model.branches)
    @rule(pick=PICK, days=st.sets(st.integers(1, 3), min_size=1))
    def publish_windows(self, pick: int, days: set[int]) -> None:
        name = self.branch(pick)
        branch, windows = self.model.branches[name], [Window.of_days(january(day), january(day)) for day in days]
        head = self.stock().metadata.current_snapshot_id
        came = self.befallen(lambda: self.auditor.publish_windows(name, windows))
        if came.well:
            main = self.model.main
            if head != self.stock().metadata.current_snapshot_id:
                main = branch.days_onto(main, days)
            if name not in self.stock().metadata.refs:
                main = branch.said_on(main)
                del self.model.branches[name]
            self.moved(main, "windows")
        assert came.well or isinstance(came.error, PublishConflict)
        World.done["publish windows" if came.well else "publish windows refused"] += 1

    @precondition(lambda self: self.model.branches)
    @rule(pick=PICK)
    def discard(self, pick: int) -> None:
        name = self.branch(pick)
        self.auditor.discard(name)
        del self.model.branches[name]
        World.done["discard"] += 1

    @precondition(lambda self: self.model.line)
    @rule(pick=PICK, kill=KILL)
    def restore(self, pick: int, kill: tuple[int, bool] | None) -> None:
        """Back to a state that main has shown."""
        past = [one.id for one in self.auditor.snapshots() if one.id in self.model.states][:4]
        target = past[pick % len(past)]

        def act() -> object:
            return self.auditor.restore(self.auditor.plan_restore(to=target))

        came = self.befallen(act, kill)
        if self.stock().metadata.current_snapshot_id == target:
            self.moved(self.model.states[target], "restore")
        else:
            # How far loads had come then may have expired.
            assert came.killed or isinstance(came.error, CommitError)
        World.done["restore" if came.well else "restore in part or refused"] += 1

    def branch(self, pick: int) -> str:
        names = sorted(self.model.branches)
        return names[pick % len(names)]
