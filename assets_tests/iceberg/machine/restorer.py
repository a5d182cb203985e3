"""What the restorer does: plans to take main back, and does it, perhaps too late."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from assets_tests.iceberg.machine.drawn import KILL, PICK
from assets_tests.iceberg.machine.states import EMPTY
from assets_tests.iceberg.machine.steps import Steps
from lakehouse.errors import SnapshotMissing
from lakehouse.iceberg import MAIN


class Restorer(Steps):
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
            main.stored,
            target.stored,
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
