"""After a build: which tables become visible, and which stay on their branch.

`decide` is pure. How a branch becomes main is `iceberg/`; what ran is told by `run.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lakehouse.errors import PublishConflict
from lakehouse.iceberg import Commit, Lake, read_by
from lakehouse.tables import TableName
from lakehouse.transform.events import Event, ModelFinished, Status, TestFinished
from lakehouse.transform.manifest import Manifest, Test

_SAID = {Status.FAIL: "failed", Status.ERROR: "could not be run"}


@dataclass(frozen=True)
class Decision:
    """What to publish, parents first, and what is held back on the branch with the reason of each."""

    publish: tuple[TableName, ...] = ()
    hold: Mapping[TableName, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Publication:
    """What became visible, and which tables did not because main was not where they were made from."""

    commits: Mapping[TableName, Commit]
    conflicts: Mapping[TableName, PublishConflict]


def decide(events: Iterable[Event], manifest: Manifest) -> Decision:
    """Publish every table that was written, whose blocking tests all passed and whose parents are not held.

    A failed test counts against the model that it is declared on; if that one is not of this build, against every model
    of the build that the test reads. A blocking test that did not report counts as failed: no news is not good news.
    """
    events = list(events)
    built = {event.unique_id: event for event in events if isinstance(event, ModelFinished)}
    outcomes = {event.unique_id: event for event in events if isinstance(event, TestFinished)}
    bad: dict[str, str] = {}
    for test in manifest.tests.values():
        outcome = outcomes.get(test.unique_id)
        blamed = (test.owner,) if test.owner in built else tuple(name for name in test.models if name in built)
        reason = _objection(test, outcome, expected=test.owner in built and not test.unit)
        if reason is not None:
            bad.update((model, reason) for model in blamed)

    publish: list[TableName] = []
    hold: dict[TableName, str] = {}
    for unique_id in manifest.in_order(built):
        model, event = manifest.models[unique_id], built[unique_id]
        reason = bad.get(unique_id) or _of_parents(model.parents, bad, manifest)
        if event.status is not Status.SUCCESS:
            reason = reason or f"{event.name} was not written"
        if reason is not None:
            bad[unique_id] = reason
        if event.table is None or event.status is not Status.SUCCESS:
            continue
        if reason is None:
            publish.append(event.table)
        else:
            hold[event.table] = reason
    return Decision(tuple(publish), hold)


def publish_models(lake: Lake, names: Sequence[TableName], branch: str) -> Publication:
    """Make the branch of each table its main, in this order, parents first.

    Publication is atomic per table. A child is published only if each parent of `names` became visible as the very
    snapshot that the child read. What main's movement forbids is told, not raised. Raises BranchMissing,
    CommitConflict.
    """
    commits: dict[TableName, Commit] = {}
    conflicts: dict[TableName, PublishConflict] = {}
    for name in names:
        try:
            for parent, snapshot_id in read_by(lake, name, branch).items():
                _check_parent(name, parent, snapshot_id, commits, conflicts)
            commits[name] = lake.table(name).publish(branch)
        except PublishConflict as error:
            conflicts[name] = error
    return Publication(commits, conflicts)


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
    if outcome is None or outcome.status is Status.SKIPPED:
        return f"test {test.name} did not run" if expected and test.blocking else None
    if outcome.status.good:
        return None
    found = f" on {outcome.failures} rows" if outcome.failures else ""
    return f"test {test.name} {_SAID[outcome.status]}{found}"


def _of_parents(parents: Iterable[str], bad: Mapping[str, str], manifest: Manifest) -> str | None:
    for parent in parents:
        if parent in bad:
            return f"it reads {manifest.models[parent].label}, which is held: {bad[parent]}"
    return None
