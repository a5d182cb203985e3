"""What the auditor does: branches, audits, publishing, tags."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from assets_tests.iceberg.machine.drawn import KILL, PICK, RUN
from assets_tests.iceberg.machine.foreign import Foreign
from assets_tests.iceberg.machine.model import AuditFailed
from assets_tests.iceberg.machine.states import EMPTY, Row, january
from assets_tests.iceberg.machine.swaps import killed
from assets_tests.iceberg.machine.world import World
from lakehouse.tables import Window

BRANCHES = ("run/a", "run/b")


class Auditor(Foreign):
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
        merges = any(past.merge for past in self.model.staged(branch)[1])
        if kill is not None:
            self.ask_again("publish", act, model, kill, branch)
            World.done[f"publish of merges: {'kept' if branch in self.model.refs else 'done'}"] += merges
            return
        meanwhile = (lambda: self.someone_writes(other, foreign=foreign)) if other else None
        self.agree("publish", act, model, meanwhile)
        World.done[f"publish of merges: {'kept' if branch in self.model.refs else 'done'}"] += merges
        assert len(seen) == self.model.audits - audits
        if seen:
            assert seen[-1] == (self.model.refs[branch] if audit == "fails" else self.model.main).rows

    # A rule is drawn as often as the class lists it: most orders of steps have nothing to publish.
    publish_too = publish

    @precondition(lambda self: len(self.model.refs) > 1)
    @rule(pick=PICK, days=st.sets(st.integers(1, 3), min_size=1), kill=KILL)
    def publish_windows(self, pick: int, days: set[int], kill: tuple[int, bool] | None) -> None:
        branch = self.branch(pick)
        windows = [Window.of_days(january(day), january(day)) for day in days]
        self.ask_again(
            "windows",
            lambda: self.auditor.publish_windows(branch, windows),
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
        World.done["discard"] += 1

    @precondition(lambda self: self.model.main is not EMPTY and len(self.model.tags) < 2)
    @rule(pick=PICK)
    def tag(self, pick: int) -> None:
        ref, name = self.ref(pick), f"keep/{next(self.numbers)}"
        self.auditor.tag(name, ref)
        self.model.tags[name] = self.model.head(ref)
        World.done["tag"] += 1
