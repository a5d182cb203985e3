"""What our own writers do: runs, also killed, overtaken and asked for again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from assets_tests.iceberg.machine.drawn import FENCE, PICK, RUN
from assets_tests.iceberg.machine.foreign import Foreign


class Writers(Foreign):
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
