"""What is kept beside main of a table, and why: branches, the blocking rules that hold them, rows in quarantine.

It explains what is out of date, which is told by `why_lake.py`. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING

from lakehouse.iceberg import Lake
from lakehouse.ingest import waiting
from lakehouse.ledger import CHECKS
from lakehouse.orchestration.why_reasons import Kind, Reason
from lakehouse.quality.finding import Outcome
from lakehouse.quality.report import report
from lakehouse.settings import Settings
from lakehouse.tables import Severity, TableName
from lakehouse.tables.sql import literal
from lakehouse.tables.window import spans

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations


class Held:
    """What is held back of some tables, which stand upstream first."""

    def __init__(
        self, settings: Settings, lake: Lake, declarations: Declarations, chain: tuple[TableName, ...]
    ) -> None:
        self._settings, self._lake, self._declarations, self._chain = settings, lake, declarations, chain

    def find(self, state: Sequence[Reason]) -> list[Reason]:
        """All of it; what has nothing to do with what is out of date (`state`) is marked as beside it."""
        kept = [self._weighed(reason, state) for name in self._chain for reason in self._kept(name)]
        return [*kept, *self._of_rules(kept), *self._refused()]

    def _kept(self, name: TableName) -> Iterator[Reason]:
        """What branches of a table have that main has not."""
        if not self._lake.exists(name):
            return
        stored = self._lake.table(name)
        for branch in stored.branches():
            state = stored.branch_state(branch)
            if state.ahead:
                days = {day for one in state.windows if one.window and not one.on_main for day in one.window.days}
                what = f"{branch}: {state.rows_added:,} rows added and {state.rows_removed:,} removed beside main"
                yield Reason(name, Kind.BRANCH, what, days=spans(days), at=state.written_at, branch=branch)

    @staticmethod
    def _weighed(kept: Reason, state: Sequence[Reason]) -> Reason:
        """Of a branch that has nothing of what is out of date, only that it is there: others have followed it."""
        held = {day for window in kept.days for day in window.days}
        out = {day for one in state for window in one.days for day in window.days}
        of_table = any(one.table == kept.table and not one.days for one in state)
        return kept if held & out or of_table else replace(kept, beside=True)

    def _of_rules(self, kept: Sequence[Reason]) -> Iterator[Reason]:
        """The blocking rules that did not hold when they were judged last, or on a branch that is kept."""
        told = set[tuple[TableName, str, str | None]]()
        beside = {(one.table, one.branch): one.beside for one in kept}
        for name, rule, reason in (*self._last_judged(), *self._judged_on(kept)):
            key = (name, rule, reason.branch)
            if key not in told:
                told.add(key)
                yield replace(reason, beside=reason.branch is None or beside.get((name, reason.branch), False))

    def _last_judged(self) -> Iterator[tuple[TableName, str, Reason]]:
        for one in report(self._settings, self._declarations, names=self._chain).blocked:
            shown = ", and main shows it" if one.published else ""
            what = f"rule {one.rule}: {one.observed}{shown}"
            branch = None if one.published else one.branch
            yield one.table, one.rule, Reason(one.table, Kind.CHECK, what, at=one.at, run_id=one.run_id, branch=branch)

    def _judged_on(self, kept: Sequence[Reason]) -> Iterator[tuple[TableName, str, Reason]]:
        """By `ops.checks`: of other days the same rule may have held since."""
        if not kept or not self._lake.exists(CHECKS.name):
            return
        stored = self._lake.table(CHECKS.name)
        for one in kept:
            where = f"branch = {literal(one.branch or '')} and severity = '{Severity.ERROR.value}'"
            rows = stored.scan(where=where).read_all().to_pylist()
            own = [row for row in rows if row["table_name"] == str(one.table)]
            for rule, row in {row["rule"]: row for row in sorted(own, key=itemgetter("checked_at"))}.items():
                if row["outcome"] != Outcome.PASSED.value:
                    what = f"rule {rule}: {row['observed']}"
                    at, run_id = row["checked_at"], row["run_id"]
                    yield one.table, rule, Reason(one.table, Kind.CHECK, what, at=at, run_id=run_id, branch=one.branch)

    def _refused(self) -> Iterator[Reason]:
        """Rows that wait in quarantine. They hold nothing back."""
        for name in self._chain:
            table = self._declarations.get(name)
            rows = waiting(self._lake, table).total() if table is not None and table.load is not None else 0
            if rows:
                look = f"lakehouse reject list {name}"
                yield Reason(name, Kind.QUARANTINE, f"{rows:,} rows wait in quarantine", remedy=look, beside=True)
