"""What an audit found out about one rule of one table. Plain values; judging and showing do not belong here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from lakehouse.tables import Severity, TableName

Sample = Mapping[str, str | None]
"""A failing row as text by column; NULL is None, and values of personal columns are masked already."""


class Outcome(StrEnum):
    """How a rule was judged."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    """The rule could not be judged, and so was not shown to hold."""


@dataclass(frozen=True)
class Finding:
    """One rule, judged on one snapshot.

    `observed` is what was seen, in a few words ("3 of 1,200 rows", "found 12.5"), or why the rule could not be judged.
    `rows` is how many rows were judged and `failed` how many of them broke the rule, where rows can be told apart.
    `sql` finds the failing rows again (DuckDB, on the lake's tables); `branch` and `snapshot_id` say what was judged.
    """

    table: TableName
    rule: str
    severity: Severity
    outcome: Outcome
    description: str
    observed: str
    rows: int | None = None
    failed: int | None = None
    sample: tuple[Sample, ...] = ()
    sql: str = ""
    column: str | None = None
    branch: str = "main"
    snapshot_id: int | None = None
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the rule holds."""
        return self.outcome is Outcome.PASSED

    @property
    def blocks(self) -> bool:
        """Whether it keeps the table from being published: a rule of severity error that was not shown to hold."""
        return not self.passed and self.severity is Severity.ERROR

    @property
    def share(self) -> float | None:
        """The share of rows that broke the rule, 0 to 1."""
        if self.rows is None or self.failed is None:
            return None
        return self.failed / self.rows if self.rows else 0.0

    def __str__(self) -> str:
        """As messages name it."""
        return f"rule {self.rule} of {self.table} {_SAID[self.outcome]}: {self.observed}"


_SAID = {Outcome.PASSED: "holds", Outcome.FAILED: "failed", Outcome.ERROR: "could not be judged"}
