"""What data docs are made of: one table as Great Expectations judged it. How pages are written is `docs.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakehouse.tables import TableName

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuite, ExpectationSuiteValidationResult


@dataclass(frozen=True)
class Judged:
    """One table's suite and its results, values of personal columns masked.

    Every expectation has the rule's description and severity ("critical" blocks, "warning" does not), and its name in
    `meta["rule"]`. Results come in the contract's order.
    """

    table: TableName
    branch: str
    snapshot_id: int | None
    suite: ExpectationSuite
    result: ExpectationSuiteValidationResult
