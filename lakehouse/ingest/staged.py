"""A load on a branch of its own: its rows are staged there, judged, and published or left for somebody to look at.

Which rows those are is `interval.py`'s business, how they are judged `quality/`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import structlog

from lakehouse.errors import AuditFailed, BranchMissing, Fenced, LakehouseError, LoadRejected, PublishConflict
from lakehouse.iceberg import MAIN, Commit, LakeTable
from lakehouse.quality.finding import Finding
from lakehouse.tables import Severity, Table, TableRuleKind

if TYPE_CHECKING:
    from lakehouse.quality.gate import Gate

_log = structlog.get_logger(__name__)

PREFIX = "load/"
"""The branches of loads: `load/<run key>`."""


class Writing(Protocol):
    """Rows that can be written to a branch of their table, once: those of an interval, or of a replay."""

    table: Table
    target: LakeTable
    run_key: str

    @property
    def overtaken(self) -> bool:
        """Whether another writer has moved main on from where these rows begin."""
        ...

    def is_on(self, branch: str) -> bool:
        """Whether a branch has these rows already."""
        ...

    def write(self, branch: str) -> Commit:
        """Append them; nothing where the branch has them already."""
        ...


@dataclass(frozen=True)
class Staged:
    """What became of the rows. `commit` is the one on main, or what stands on the branch when they are `held`."""

    commit: Commit
    findings: tuple[Finding, ...] = ()
    held: AuditFailed | None = None


def write_judged(interval: Writing, gate: Gate | None) -> Staged:
    """Write an interval; first to a branch where a rule can hold it back, to main where the gate can only warn.

    Raises Fenced when another load was faster, and what `Interval.write` and the gate raise.
    """
    table = interval.table
    if gate is not None and any(rule.severity is Severity.ERROR for rule in table.table_rules):
        return _Staging(interval, gate).carry_out()
    commit, rules = interval.write(MAIN), _judged(table)
    return Staged(commit, gate.audit(table.name, rules=rules) if gate is not None and rules else ())


def still_fresh(table: Table, gate: Gate | None) -> tuple[tuple[Finding, ...], AuditFailed | None]:
    """Judge main by the rules that time alone breaks, for a load that brought nothing."""
    rules = tuple(rule.name for rule in table.table_rules if rule.kind is TableRuleKind.FRESH)
    findings = gate.audit(table.name, rules=rules) if gate is not None and rules else ()
    return findings, _refusal(table, findings, "See why the source delivers nothing new, and load again.")


def sweep(target: LakeTable, *, keep: str | None) -> None:
    """Drop the branches of all loads but one: their rows are loaded by now, or staged there once more."""
    for branch in target.branches():
        if branch.startswith(PREFIX) and branch != keep:
            _log.info("superseded load dropped", table=str(target.name), branch=branch)
            target.discard(branch)


class _Staging:
    def __init__(self, interval: Writing, gate: Gate) -> None:
        self._interval, self._gate = interval, gate
        self._table, self._target = interval.table, interval.target
        self._branch = PREFIX + interval.run_key

    def carry_out(self) -> Staged:
        """Stage, judge, publish.

        A branch that an earlier load of the same interval left is judged anew, by the door's rules too, since the
        contract may have gained some. It is published when it passes; else it is made again from the source as it is.
        """
        commit, findings = self._write(), None
        if commit.already_done and self._interval.is_on(MAIN):
            # Another load of the interval was faster, and its rows were judged.
            self._target.discard(self._branch)
            return Staged(commit, self._audit(MAIN))
        if commit.already_done:
            findings = self._gate.audit(self._table.name, at=self._branch)
            if any(finding.blocks for finding in findings):
                _log.info("staged anew", table=str(self._table.name), branch=self._branch)
                self._target.discard(self._branch)
                commit, findings = self._write(), None
        judged = _judged(self._table)
        kept = tuple(finding for finding in findings if finding.rule in judged) if findings is not None else None
        staged = Staged(commit, kept or self._audit(self._branch))
        held = self._held(staged.findings)
        return self._publish(staged) if held is None else replace(staged, held=held)

    def _write(self) -> Commit:
        """Make the branch unless it is there, and write to it; one that nothing came to is dropped again."""
        self._target.create_branch(self._branch)
        try:
            return self._interval.write(self._branch)
        except LakehouseError as error:
            if isinstance(error, LoadRejected) or not self._interval.is_on(self._branch):
                self._target.discard(self._branch)
            raise

    def _publish(self, staged: Staged) -> Staged:
        findings = staged.findings

        def audit() -> None:
            nonlocal findings
            findings = self._audit(self._branch)
            if (held := self._held(findings)) is not None:
                raise held

        try:
            judged = self._require_judged(staged)
            return Staged(self._target.publish(self._branch, audit=audit, judged=judged), findings)
        except AuditFailed as error:
            return Staged(staged.commit, findings, error)
        except (BranchMissing, PublishConflict) as error:
            if self._interval.is_on(MAIN):
                return Staged(replace(staged.commit, already_done=True), findings)
            if not self._interval.overtaken:
                raise
            self._target.discard(self._branch)
            raise Fenced(
                f"another load of {self._table.name} was faster, so nothing of this one was published",
                found=str(error),
                remedy="Load again: it will start from the new position.",
            ) from error

    def _require_judged(self, staged: Staged) -> int:
        """The branch's head. Raises BranchMissing when this load did not write it and had it judged: another did."""
        head = self._target.snapshots(self._branch)[0].id
        judged = {finding.snapshot_id for finding in staged.findings if finding.snapshot_id is not None}
        if {head} != {staged.commit.snapshot_id, *judged}:
            raise BranchMissing(
                f"branch {self._branch!r} of {self._table.name} is not what was judged",
                expected=f"snapshot {staged.commit.snapshot_id}",
                found=str(head),
                remedy="Load again.",
            )
        return head

    def _audit(self, at: str) -> tuple[Finding, ...]:
        return self._gate.audit(self._table.name, at=at, rules=_judged(self._table))

    def _held(self, findings: Collection[Finding]) -> AuditFailed | None:
        look = f"look at the rows with `lakehouse branch show {self._table.name} {self._branch}`"
        remedy = f"Main and its progress are unchanged: {look}, mend the source or the contract, and load again."
        return _refusal(self._table, findings, remedy)


def _judged(table: Table) -> tuple[str, ...]:
    """What the door has not judged: warnings, and the rules of the whole table."""
    warnings = (rule.name for rule in table.rules if rule.severity is Severity.WARNING)
    return (*warnings, *(rule.name for rule in table.table_rules))


def _refusal(table: Table, findings: Collection[Finding], remedy: str) -> AuditFailed | None:
    blocking = [finding for finding in findings if finding.blocks]
    return AuditFailed(f"{table.name} is held: {'; '.join(map(str, blocking))}", remedy=remedy) if blocking else None
