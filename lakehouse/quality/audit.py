"""One audit: the rules of a scope, judged and put into findings. What a run remembers of its audits is `gate.py`."""

from __future__ import annotations

import time
from dataclasses import replace

import duckdb

from lakehouse.contracts import Declarations
from lakehouse.quality.finding import Finding, Outcome
from lakehouse.quality.judged import Judged
from lakehouse.quality.library import engine
from lakehouse.quality.masking import without_quotes
from lakehouse.quality.scope import Scope
from lakehouse.quality.suite import Expected, expected
from lakehouse.quality.witness import Seen, Witness
from lakehouse.tables import Rule


def audit(
    connection: duckdb.DuckDBPyConnection, scope: Scope, declarations: Declarations, *, sample_rows: int
) -> tuple[tuple[Finding, ...], Judged]:
    """A finding for each rule, in their order, and the same as Great Expectations has it.

    Raises duckdb.Error only when the table itself cannot be read.
    """
    begun = time.monotonic()
    library, name = engine(), scope.table.name
    expectations = expected(scope.table, scope.rules, scope.relations)
    judge = library.Engine(connection, name)
    results = judge.judge(expectations, scope.unreadable)
    judged = [(one, result, library.reason(result)) for one, result in zip(expectations, results, strict=True)]
    broken = [one.rule for one, result, why in judged if why is None and not result.success]
    witness = Witness(connection, scope, declarations, broken, sample_rows=sample_rows)
    share = (time.monotonic() - begun) / len(expectations)
    findings = []
    for one, result, why in judged:
        begun = time.monotonic()
        if why is None:
            outcome = Outcome.PASSED if result.success else Outcome.FAILED
            seen = witness.see(judge, one, result)
        else:
            outcome = Outcome.ERROR
            seen = Seen(scope.unreadable.get(one.rule.name) or without_quotes(why), None, (), {})
        library.complete(result, seen.result, None if why is None else seen.observed)
        found = _finding(scope, one, outcome, seen)
        findings.append(replace(found, rows=witness.rows, seconds=share + time.monotonic() - begun))
    facts = {"table": str(name), "branch": scope.branch, "snapshot_id": scope.snapshot_id}
    suite = library.suite_of(name, expectations)
    result = library.suite_result(name, results, facts)
    return tuple(findings), Judged(name, scope.branch, scope.snapshot_id, suite, result)


def _finding(scope: Scope, one: Expected, outcome: Outcome, seen: Seen) -> Finding:
    rule = one.rule
    column = rule.column if isinstance(rule, Rule) else rule.columns[0] if len(rule.columns) == 1 else None
    return Finding(
        table=scope.table.name,
        rule=rule.name,
        severity=rule.severity,
        outcome=outcome,
        description=rule.description,
        observed=seen.observed,
        failed=seen.failed,
        sample=seen.sample,
        sql=scope.shown_query(rule),
        column=column,
        branch=scope.branch,
        snapshot_id=scope.snapshot_id,
    )
