"""The sensor `changes`: what is out of date becomes questions to Dagster, each change once.

Days become events on `changes/<table>`, which the table's automation condition answers (`conditions.py`); tables
without days become one run. What is out of date is found by `lakehouse/changes/`, in the tables themselves; this
sensor only asks, and its cursor (`asked.py`) only keeps it from asking twice.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import dagster as dg

from lakehouse.orchestration.asked import Asked, Target
from lakehouse.orchestration.conditions import ASKED_BY, LOOK_SECONDS, sensor_status
from lakehouse.orchestration.model_graph import ModelGraph
from lakehouse.orchestration.questions import questions
from lakehouse.orchestration.specs import changes_key, changes_spec
from lakehouse.orchestration.under_way import Attempts, Jobs, UnderWay, failed_itself, under_way
from lakehouse.settings import Settings
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from lakehouse.changes import Cause, Stale
    from lakehouse.contracts import Declarations
    from lakehouse.iceberg import Lake

NAME = "changes"
_WAIT = 60.0
"""Seconds that running work may keep everything waiting; then only what it makes itself waits."""
_SHOWN = 3


def change_assets(declarations: Declarations) -> list[dg.AssetSpec]:
    """`changes/<table>` of every daily table."""
    return [changes_spec(table) for table in declarations.values() if table.follows_by_days]


def changes_sensor(settings: Settings, graph: ModelGraph, jobs: Jobs) -> dg.SensorDefinition:
    """The sensor of the project; `jobs` as in `under_way`."""

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return _tick(settings, graph, jobs, context)

    return dg.SensorDefinition(
        name=NAME,
        evaluation_fn=tick,
        asset_selection=dg.AssetSelection.assets(*graph.keys(graph.undated)),
        minimum_interval_seconds=LOOK_SECONDS,
        default_status=sensor_status(enabled=settings.automation.enabled),
        description="Asks for the days, and the tables without days, whose inputs changed.",
    )


def _tick(settings: Settings, graph: ModelGraph, jobs: Jobs, context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Raises CatalogError when the lake cannot be reached: the tick is red, and the cursor stays where it is."""
    now = time.time()
    asked = Asked.read(context.cursor)
    busy = under_way(context.instance, jobs)
    waiting = (asked.waiting or now) if busy.who else None
    if waiting is not None and now - waiting < _WAIT:
        return _skipped(f"waiting for {_some(busy.who)}", replace(asked, waiting=waiting))
    found = _look(settings, graph, asked.memory)
    asking = questions(
        found.changes,
        asked,
        _Answers(context.instance, jobs, found),
        above=graph.above,
        busy=busy.tables,
        now=now,
        most=settings.automation.days_at_once,
    )
    after = Asked(asking.asked, waiting, found.memory)
    if not asking.models and not asking.days:
        return _skipped(_nothing(found, busy), after)
    return dg.SensorResult(
        run_requests=list(_runs(graph, asking.models, after)),
        asset_events=[
            _event(name, day, found.days[name].days[day]) for name, days in asking.days.items() for day in days
        ],
        cursor=after.text(),
    )


@dataclass(frozen=True)
class _OutOfDate:
    """What a look at the lake found. `changes`: fingerprints of what has not been followed."""

    lake: Lake
    days: Mapping[TableName, Stale]
    changes: Mapping[Target, str]
    memory: object


def _look(settings: Settings, graph: ModelGraph, memory: object) -> _OutOfDate:
    from lakehouse.changes import Memory, stale_days, stale_models
    from lakehouse.iceberg import Lake

    lake, known = Lake.open(settings), Memory.from_json(memory)
    days = stale_days(settings, lake, graph.declarations, graph.parents, known=known)
    changes: dict[Target, str] = {
        (name, None): _fingerprint((upstream, _moved(lake, upstream)) for upstream in upstreams)
        for name, upstreams in stale_models(lake, graph.declarations, graph.parents).items()
    }
    today = datetime.now(UTC).date()
    for name, stale in days.items():
        first = graph.declarations[name].window_start or date.min
        for day, causes in stale.days.items():
            # Dagster knows no other days yet; one to come is asked for when it has come.
            if first <= day <= today:
                changes[name, day] = _fingerprint((cause.upstream, cause.sequence) for cause in causes)
    return _OutOfDate(lake, days, changes, known.to_json())


def _moved(lake: Lake, name: TableName) -> int:
    """The newest snapshot of a table that is no mere compaction."""
    return next((s.id for s in lake.look(name).snapshots() if s.operation != "replace"), 0)


def _fingerprint(changes: Iterable[tuple[TableName, int]]) -> str:
    text = ",".join(f"{name}:{number}" for name, number in sorted(changes))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _runs(graph: ModelGraph, models: frozenset[TableName], after: Asked) -> Iterator[dg.RunRequest]:
    """One run of the tables without days that are out of date, and of those below them."""
    if models:
        told = (f"{name}:{after.asks[name, None].change}:{after.asks[name, None].times}" for name in sorted(models))
        yield dg.RunRequest(
            run_key=hashlib.sha256(" ".join(told).encode()).hexdigest()[:24],
            asset_selection=list(graph.keys(graph.along_with(models))),
            tags={ASKED_BY: NAME},
        )


def _event(name: TableName, day: date, causes: Iterable[Cause]) -> dg.AssetMaterialization:
    listed = sorted(causes, key=lambda cause: cause.upstream)
    snapshots = {str(cause.upstream): str(cause.snapshot_id) for cause in listed if cause.snapshot_id is not None}
    return dg.AssetMaterialization(
        changes_key(name),
        partition=day.isoformat(),
        description="; ".join(f"{cause.upstream}: {cause.note}" for cause in listed),
        metadata={
            "lakehouse/changed": ", ".join(str(cause.upstream) for cause in listed),
            # As text: the UI's JavaScript would round the number.
            "lakehouse/snapshots": dg.MetadataValue.json(snapshots),
        },
    )


@dataclass(frozen=True)
class _Answers:
    """How runs went, looked up when somebody has to know."""

    instance: dg.DagsterInstance
    jobs: Jobs
    found: _OutOfDate
    _attempts: dict[float, Attempts] = field(default_factory=dict)

    def tried(self, target: Target) -> bool:
        name, day = target
        if day is None:
            return False
        runs = {self._made_by(cause) for cause in self.found.days[name].days[day]}
        run_id = runs.pop() if len(runs) == 1 else None
        run = self.instance.get_run_by_id(run_id) if run_id is not None else None
        return run is not None and failed_itself(run, self.jobs, name, day)

    def settled(self, target: Target, since: float) -> bool:
        if since not in self._attempts:
            self._attempts[since] = Attempts.since(self.instance, since, self.jobs)
        return self._attempts[since].settled(*target)

    def _made_by(self, cause: Cause) -> str | None:
        """The run whose commit the change is."""
        if cause.snapshot_id is None:
            return None
        key = next(
            (s.run_key for s in self.found.lake.look(cause.upstream).snapshots() if s.id == cause.snapshot_id), None
        )
        return key.partition(":")[0] if key else None


def _skipped(why: str, asked: Asked) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=dg.SkipReason(why), cursor=asked.text())


def _nothing(found: _OutOfDate, busy: UnderWay) -> str:
    if not found.changes:
        return "everything follows its inputs"
    names = _some(sorted({str(name) for name, _ in found.changes}))
    if busy.who:
        return f"out of date: {names}; waiting for {_some(busy.who)}"
    return f"out of date, and asked for already: {names}. `lakehouse why TABLE` says more"


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _SHOWN
    return ", ".join(listed[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
