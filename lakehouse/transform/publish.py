"""After a build: which tables become visible, and which stay on their branch.

`decide` is pure. How a branch becomes main is `iceberg/`; what ran is told by `run.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from lakehouse.errors import AuditFailed, PublishConflict
from lakehouse.iceberg import Commit, Lake, read_by
from lakehouse.quality.finding import Finding, Outcome
from lakehouse.tables import TableName
from lakehouse.transform.events import Event, ModelFinished, Status, TestFinished
from lakehouse.transform.manifest import Manifest, Test

if TYPE_CHECKING:
    from lakehouse.transform.attribution import Blame, Days

_SAID = {Status.FAIL: "failed", Status.ERROR: "could not be run"}


@dataclass(frozen=True)
class Decision:
    """What to publish, parents first, and what is held back on the branch with the reason of each.

    `days`: tables of `publish` that are published in part, or beside what is, each with its days that are held.
    """

    publish: tuple[TableName, ...] = ()
    hold: Mapping[TableName, str] = field(default_factory=dict)
    days: Mapping[TableName, Days] = field(default_factory=dict)


@dataclass(frozen=True)
class Publication:
    """What became visible, and what did not.

    `conflicts`: main, or the branch, is not what the work was made from or judged on, so it is to be made again.
    `refused`: on top of what main is now, rows break a blocking rule, or come from rows that do.
    """

    commits: Mapping[TableName, Commit]
    conflicts: Mapping[TableName, PublishConflict]
    refused: Mapping[TableName, AuditFailed]


PublishDays = Callable[[Mapping[TableName, Commit]], Commit]
"""Publishes a table without some of its days, given what has become visible of its parents."""


def decide(events: Iterable[Event], manifest: Manifest, blame: Blame | None = None) -> Decision:
    """Publish every table that was written, whose blocking tests all passed, and that needs nothing that is held.

    It needs what its SQL reads, and what a blocking test of its own reads: it passed beside rows that nobody sees.
    A failed test counts against the model that it is declared on; if that one is not of this build, against every model
    of the build that the test reads. A blocking test that did not report counts as failed: no news is not good news.
    Where `blame` knows which days of a table are bad, only these are held, of it and of the daily tables that read it.
    """
    events = list(events)
    built = {event.unique_id: event for event in events if isinstance(event, ModelFinished)}
    outcomes = {event.unique_id: event for event in events if isinstance(event, TestFinished)}
    bad: dict[str, str] = {}
    for test in manifest.tests.values():
        outcome = outcomes.get(test.unique_id)
        blamed = (test.owner,) if test.owner in built else tuple(name for name in test.models if name in built)
        reason = _objection(test, outcome, expected=test.owner in built and not test.unit)
        if reason is not None and outcome is not None and blame is not None:
            reason = _without_days(reason, outcome, manifest, blame)
        if reason is not None:
            bad.update((model, reason) for model in blamed)
    for unique_id, event in built.items():
        if event.status is not Status.SUCCESS:
            bad.setdefault(unique_id, f"{event.name} was not written")
    order = manifest.in_order(built)
    days = _days(order, manifest, blame, bad) if blame is not None else {}
    while further := _drawn_in(order, bad, manifest):
        bad |= further
    tables = [(unique_id, event.table) for unique_id in order if (event := built[unique_id]).status is Status.SUCCESS]
    publish = tuple(table for unique_id, table in tables if table is not None and unique_id not in bad)
    hold = {table: bad[unique_id] for unique_id, table in tables if table and unique_id in bad}
    return Decision(publish, hold, {table: days[table] for table in publish if table in days})


def audited_snapshots(events: Iterable[Event]) -> dict[TableName, frozenset[int | None]]:
    """The snapshots that a build's audits judged, by table; one each, unless somebody wrote in between."""
    found: dict[TableName, set[int | None]] = {}
    for event in events:
        if isinstance(event, TestFinished):
            for finding in event.findings:
                # A rule that could not be judged says nothing about any snapshot. If it blocks, `decide` has held it.
                if finding.outcome is not Outcome.ERROR:
                    found.setdefault(finding.table, set()).add(finding.snapshot_id)
    return {name: frozenset(snapshots) for name, snapshots in found.items()}


def publish_models(  # noqa: PLR0913, PLR0917  (what is published, and what was found out about it)
    lake: Lake,
    names: Sequence[TableName],
    branch: str,
    audited: Mapping[TableName, frozenset[int | None]],
    judge: Callable[[TableName], Iterable[Finding]] | None = None,
    by_days: Mapping[TableName, PublishDays] | None = None,
) -> Publication:
    """Make the branch of each table its main, in this order, parents first.

    Publication is atomic per table. A table of `audited` is published only if its branch stands at the one snapshot
    that was judged. Appends that are put on top of a main that moved are judged once more, by `judge`; without it such
    a branch is a conflict. A child is published only if each parent of `names` became visible as the very snapshot that
    the child read. Tables of which days are held are published by what `by_days` has for them. What main's movement or
    a finding forbids is told, not raised. Raises BranchMissing, CommitConflict, and what `judge` raises.
    """
    parts = by_days or {}
    commits: dict[TableName, Commit] = {}
    conflicts: dict[TableName, PublishConflict] = {}
    refused: dict[TableName, AuditFailed] = {}
    for name in names:
        again = partial(_judge_again, judge, name, branch) if judge is not None and name in audited else None
        try:
            for parent, snapshot_id in read_by(lake, name, branch).items():
                _refuse_with(name, parent, refused)
                if parent in conflicts or parent not in parts:
                    _check_parent(name, parent, snapshot_id, commits, conflicts)
            judged = _judged(name, branch, audited.get(name))
            if name in parts:
                commits[name] = parts[name](commits)
            else:
                commits[name] = lake.table(name).publish(branch, audit=again, judged=judged)
        except PublishConflict as error:
            conflicts[name] = error
        except AuditFailed as error:
            refused[name] = error
    return Publication(commits, conflicts, refused)


def _judge_again(judge: Callable[[TableName], Iterable[Finding]], name: TableName, branch: str) -> None:
    """Raises AuditFailed when a blocking rule is broken."""
    broken = [finding for finding in judge(name) if finding.blocks]
    if broken:
        raise AuditFailed(
            f"{name} breaks its contract on top of what main is by now",
            found="; ".join(map(str, broken)),
            remedy=f"Its rows are kept on branch {branch}.",
        )


def _judged(name: TableName, branch: str, judged: frozenset[int | None] | None) -> int | None:
    """The one snapshot that was judged; None for a table without rules. Raises PublishConflict when there are more."""
    if judged is None:
        return None
    snapshot_id, *more = judged
    if snapshot_id is None or more:
        raise PublishConflict(
            f"branch {branch!r} of {name} changed while it was audited",
            expected="findings of one snapshot",
            found=f"findings of {', '.join(sorted(map(str, judged)))}",
            remedy="The branch is kept for inspection. Discard it and run again.",
        )
    return snapshot_id


def _refuse_with(name: TableName, parent: TableName, refused: Mapping[TableName, AuditFailed]) -> None:
    if parent in refused:
        raise AuditFailed(f"{name} reads {parent}, which is held", remedy=str(refused[parent]))


def _check_parent(
    name: TableName,
    parent: TableName,
    snapshot_id: int,
    commits: Mapping[TableName, Commit],
    conflicts: Mapping[TableName, PublishConflict],
) -> None:
    """Raises PublishConflict when a child read what its parent does not show. Parents of other builds do not matter."""
    if parent in conflicts:
        found = "it is not published"
    elif parent in commits and commits[parent].snapshot_id != snapshot_id:
        found = f"snapshot {commits[parent].snapshot_id} was published"
    else:
        return
    raise PublishConflict(
        f"{name} was computed from a state of {parent} that main does not show",
        expected=f"{parent} at snapshot {snapshot_id}",
        found=found,
        remedy="The branch is kept for inspection. Discard it and run again.",
    )


def _objection(test: Test, outcome: TestFinished | None, *, expected: bool) -> str | None:
    """What speaks against publication, None if nothing does. An audit is quoted, rule by rule."""
    if outcome is None or outcome.status is Status.SKIPPED:
        return f"test {test.name} did not run" if expected and test.blocking else None
    if outcome.status.good:
        return None
    if outcome.status is Status.FAIL and outcome.findings:
        return "; ".join(str(finding) for finding in outcome.findings if finding.blocks)
    found = f" on {outcome.failures} rows" if outcome.failures else ""
    why = f": {outcome.message}" if outcome.status is Status.ERROR and outcome.message else ""
    return f"test {test.name} {_SAID[outcome.status]}{found}{why}"


def _without_days(reason: str, outcome: TestFinished, manifest: Manifest, blame: Blame) -> str | None:
    """An objection of an audit, if it is one against all days of its table; None if some are good."""
    name = outcome.findings[0].table if outcome.findings else None
    if name is None or outcome.status is not Status.FAIL:
        return reason
    if blame.excuses(name, manifest):
        return None
    remark = blame.remark(name)
    return f"{reason} ({remark})" if remark else reason


def _days(order: Iterable[str], manifest: Manifest, blame: Blame, bad: dict[str, str]) -> dict[TableName, Days]:
    """The tables with bad days, and what reads them; what cannot be published by days gets into `bad`."""
    found: dict[TableName, Days] = {}
    beside = _read_by_rules(manifest)
    for unique_id in order:
        name = manifest.models[unique_id].table
        if name is None:
            continue
        others = (manifest.models[other].table for other in beside.get(unique_id, ()))
        read = sorted({*manifest.parents(name), *(other for other in others if other is not None)} & found.keys())
        if not read and not blame.own(name):
            continue
        held = blame.days(name, manifest)
        if not blame.by_days(name):
            bad.setdefault(unique_id, f"it or a rule of it reads {read[0]}, of which days are held")
        elif set(blame.window.days) <= held.keys():
            bad.setdefault(unique_id, "; ".join(dict.fromkeys(held.values())))
        else:
            found[name] = held
    return found


def _read_by_rules(manifest: Manifest) -> Mapping[str, set[str]]:
    """What the blocking tests of each model read."""
    beside: dict[str, set[str]] = {}
    for test in manifest.tests.values():
        if test.owner is not None and test.blocking and not test.unit:
            beside.setdefault(test.owner, set()).update(test.models)
    return beside


def _drawn_in(order: Iterable[str], bad: Mapping[str, str], manifest: Manifest) -> dict[str, str]:
    """Models that are held because of what is: they read it, or a blocking test of theirs was good only beside it."""
    beside = _read_by_rules(manifest)
    further: dict[str, str] = {}
    for unique_id in order:
        held = {**bad, **further}
        read = [("it reads", parent) for parent in manifest.models[unique_id].parents]
        read += [("its rules read", other) for other in sorted(beside.get(unique_id, ()))]
        why = [f"{how} {manifest.models[one].label}, which is held: {held[one]}" for how, one in read if one in held]
        if unique_id not in held and why:
            further[unique_id] = why[0]
    return further
