"""What Great Expectations found, put together by table and counted. How it is drawn does not belong here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from lakehouse.quality.docs_history import Validation
from lakehouse.tables import Severity, TableName

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult

    from lakehouse.quality.judged import Judged

_BLOCKING = "critical"
"""How Great Expectations calls the severity of rules that block."""


def merged(judged: Sequence[Judged]) -> Iterator[Judged]:
    """One a table: what was judged last, with the results of earlier steps of the run on the same snapshot.

    A rule that was judged twice counts as it was judged last.
    """
    tables: dict[TableName, list[Judged]] = {}
    for one in judged:
        tables.setdefault(one.table, []).append(one)
    for several in tables.values():
        last = several[-1]
        same = [one for one in several if (one.branch, one.snapshot_id) == (last.branch, last.snapshot_id)]
        yield last if len(same) == 1 else replace(last, result=_joined([one.result for one in same]))


def validation(one: Judged, *, run_id: str, at: datetime, folder: str) -> Validation:
    """The figures of a table that was judged, and a name for its page that no other page has."""
    broken = [result for result in one.result.results if not result.success]
    failed = sum(severity(result) == Severity.ERROR for result in broken)
    return Validation(
        table=one.table,
        run_id=run_id,
        at=at,
        branch=one.branch,
        snapshot_id=one.snapshot_id,
        page=f"{folder}/{one.table}/{at:%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}.html",
        rules=len(one.result.results),
        failed=failed,
        warned=len(broken) - failed,
    )


def rule_name(one: ExpectationValidationResult) -> str:
    """The rule that was judged, as its contract names it."""
    config = one.expectation_config
    return "" if config is None else str((config.meta or {}).get("rule", config.type))


def severity(one: ExpectationValidationResult) -> str:
    """In the words of contracts. What says nothing about it blocks."""
    config = one.expectation_config
    told = None if config is None else getattr(config.severity, "value", config.severity)
    return Severity.ERROR.value if told in {None, _BLOCKING} else Severity.WARNING.value


def _joined(several: Sequence[ExpectationSuiteValidationResult]) -> ExpectationSuiteValidationResult:
    from great_expectations.core import (  # noqa: PLC0415  (who has results has imported it)
        ExpectationSuiteValidationResult,
    )

    rules = {rule_name(one): one for result in several for one in result.results}
    found = list(rules.values())
    return ExpectationSuiteValidationResult(
        success=all(one.success for one in found),
        results=found,
        suite_name=several[-1].suite_name,
        meta=several[-1].meta,
    )
