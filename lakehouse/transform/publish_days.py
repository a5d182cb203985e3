"""Publish a table without its bad days: what main would be then is made on a branch of its own, judged, and published.

Which days are bad is `attribution.py`. The run's branch keeps all days, for inspection.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date

import duckdb

from lakehouse.changes.advance import advanced
from lakehouse.changes.edges import Edge
from lakehouse.errors import AuditFailed, PublishConflict
from lakehouse.iceberg import Commit, Lake, LakeTable, read_by, read_summary
from lakehouse.quality.finding import Finding
from lakehouse.tables import Table, TableName, Window
from lakehouse.tables.window import spans

Judge = Callable[[TableName, str], Iterable[Finding]]
"""Judges a table as it is on a branch."""

GOOD = "-good"
"""Ending of the branch that a run's good days are judged on."""


@dataclass(frozen=True)
class DayPublisher:
    """Publishes days of what a run of `window` wrote to `branch`.

    `connect` gives a DuckDB on which the lake's tables are registered as main shows them; `excused` says whether what a
    rule found was there before this run.
    """

    lake: Lake
    branch: str
    window: Window
    judge: Judge
    connect: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]
    excused: Callable[[Finding], bool] = lambda _finding: False

    def publish(
        self, table: Table, edges: Sequence[Edge], bad: Collection[date], published: Mapping[TableName, Commit]
    ) -> Commit:
        """Make all days but the bad ones visible, in one swap of main.

        `edges` are what the table follows, `published` is what has become visible of this run.
        Once visible, nothing of it is done again. A branch without bad days goes. Raises AuditFailed when main would
        break a blocking rule then, PublishConflict when it moved on these days, what `judge` raises, and what the
        catalog raises. Main is then as it was.
        """
        stored = self.lake.table(table.name)
        good = spans(day for day in self.window.days if day not in bad)
        beside = f"{self.branch}{GOOD}"
        # A process that died may have left one.
        stored.discard(beside)
        stored.create_branch(beside)
        try:
            brought = self._bring(stored, edges, beside, good, published)
            self._audit(table, beside, brought)
            commit = stored.publish(beside, judged=brought)
        except BaseException:
            stored.discard(beside)
            raise
        if not bad:
            stored.discard(self.branch)
        return commit

    def _bring(
        self,
        stored: LakeTable,
        edges: Sequence[Edge],
        beside: str,
        good: Sequence[Window],
        published: Mapping[TableName, Commit],
    ) -> int | None:
        """The snapshot of main as it would be."""
        read = {
            # Of the parents' good days, main has what was read of them; their bad days are held here too.
            parent: (published[parent].snapshot_id if parent in published else None) or snapshot_id
            for parent, snapshot_id in read_by(self.lake, stored.name, self.branch).items()
        }
        with self.connect() as connection:
            progress, expected = advanced(self.lake, connection, edges, window=good, read=read, branch=beside)
        commit = stored.publish_windows(
            self.branch,
            good,
            onto=beside,
            progress=progress,
            expected_progress=expected,
            summary=read_summary(read),
        )
        return commit.snapshot_id

    def _audit(self, table: Table, beside: str, brought: int | None) -> None:
        """Raises AuditFailed, and PublishConflict when something else was judged."""
        findings = tuple(self.judge(table.name, beside))
        broken = [finding for finding in findings if finding.blocks and not self.excused(finding)]
        if broken:
            raise AuditFailed(
                f"{table.name} breaks its contract without the days that are held, too",
                found="; ".join(map(str, broken)),
                remedy=f"All its rows are kept on branch {self.branch}.",
            )
        if {finding.snapshot_id for finding in findings} - {brought}:
            raise PublishConflict(
                f"branch {beside!r} of {table.name} changed while it was audited",
                expected=f"findings of snapshot {brought}",
                found=f"findings of {', '.join(sorted({str(finding.snapshot_id) for finding in findings}))}",
                remedy="The days are kept on the branch of the run. Run again.",
            )
