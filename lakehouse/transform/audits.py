"""The audits of one build: dbt's process asks for each between a model and its children, the gate judges.

How rules are judged is `quality/`; what follows from it for publication, `publish.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lakehouse.errors import LakehouseError, TableMissing, TransformError
from lakehouse.quality.finding import Finding
from lakehouse.transform.events import RawNode, Status, TestFinished, error_values
from lakehouse.transform.manifest import Manifest, Test

if TYPE_CHECKING:
    from lakehouse.quality.gate import Gate
    from lakehouse.transform.attribution import Blame


class Audits:
    """What the gate found while a build ran, by unique id of the test that asked. Findings never leave this process.

    With `blame`, a table of which only some days are bad does not keep dbt from what reads it.
    """

    def __init__(self, gate: Gate | None, manifest: Manifest, branch: str, blame: Blame | None = None) -> None:
        self._gate, self._manifest, self._branch, self._blame = gate, manifest, branch, blame
        self._findings: dict[str, tuple[Finding, ...]] = {}
        self._missing: set[str] = set()

    def answer(self, unique_id: str) -> Mapping[str, Any]:
        """Make an audit; how many blocking rules are broken (`broken`), or the `error` that kept it from being made.

        A selector of dbt's may also select audits of tables that were never built: those are skipped.
        """
        try:
            findings = self._judged(unique_id)
            broken = self._blocking(findings)
        except TableMissing:
            self._missing.add(unique_id)
            return {"error": None, "broken": 0}
        except LakehouseError as error:
            return {"error": error_values(error)}
        self._findings[unique_id] = findings
        return {"error": None, "broken": broken}

    def finished(self, node: RawNode, test: Test) -> TestFinished:
        """A test's event. Of an audit it is the findings that count, not what dbt made of the answer.

        An audit that dbt calls good is an error nevertheless when a rule of it was not judged.
        """
        findings = self._findings.get(node.unique_id, ())
        status, failures, message = node.status, node.failures, node.message
        if node.unique_id in self._missing:
            status, failures, message = Status.SKIPPED, 0, "the table is not there"
        elif test.audit and status not in {Status.ERROR, Status.SKIPPED}:
            status, message = _status(test, findings)
            failures = sum(finding.blocks for finding in findings)
        elif node.error is not None:
            message = str(node.error)
        return TestFinished(
            unique_id=node.unique_id,
            name=test.name,
            owner=test.owner,
            models=test.models,
            status=status,
            seconds=node.seconds,
            failures=failures,
            message=message,
            findings=findings,
        )

    def _blocking(self, findings: tuple[Finding, ...]) -> int:
        """How many broken rules keep dbt from what reads the table."""
        broken = sum(finding.blocks for finding in findings)
        if self._blame is None or not findings:
            return broken
        name = findings[0].table
        self._blame.take(name, findings)
        return 0 if self._blame.excuses(name, self._manifest) else broken

    def _judged(self, unique_id: str) -> tuple[Finding, ...]:
        test = self._manifest.tests.get(unique_id)
        table = self._manifest.models[test.owner].table if test is not None and test.owner else None
        if test is None or table is None:
            raise TransformError(
                f"dbt asks for an audit that the manifest does not know: {unique_id}",
                remedy="The contracts changed while models were built: run again.",
            )
        if self._gate is None:
            raise TransformError(f"{table} is to be audited, and there is no gate", remedy="Build with a gate.")
        try:
            return self._gate.audit(table, at=self._branch, rules=test.audit)
        except KeyError as error:
            raise TransformError(
                f"the gate does not know what {table} is to be audited for: {error.args[0]}",
                remedy="The contracts changed since they were read: reload the definitions, and run again.",
            ) from error


def _status(test: Test, findings: tuple[Finding, ...]) -> tuple[Status, str]:
    """How an audit ended, and in words what is wrong."""
    unjudged = [rule for rule in test.audit if rule not in {finding.rule for finding in findings}]
    if unjudged:
        return Status.ERROR, f"not judged: {', '.join(unjudged)}"
    broken = [finding for finding in findings if not finding.passed]
    message = "; ".join(map(str, broken))
    if any(finding.blocks for finding in broken):
        return Status.FAIL, message
    return (Status.WARN if broken else Status.PASS), message
