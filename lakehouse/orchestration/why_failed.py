"""The failed runs that explain why tables, or days of them, are out of date, each in the words of its error."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import date

import dagster as dg

from lakehouse.orchestration.runs import StepFailure, step_failures
from lakehouse.orchestration.specs import table_key
from lakehouse.orchestration.why_planned import Planned, days_of, events_of, time_of
from lakehouse.orchestration.why_reasons import Kind, Reason
from lakehouse.tables import TableName

_FAILED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_FAILURES = 50
"""How many of the newest failed runs are looked at."""


def failed_runs(
    instance: dg.DagsterInstance, chain: Sequence[TableName], out_of_date: Collection[date]
) -> list[Reason]:
    """Of each day that is out of date the last run that failed on it; of each table the last run, if it failed."""
    found = list(_failed_on(instance, chain, set(out_of_date)))
    told = {reason.run_id for reason in found}
    return [*found, *(reason for reason in _failed_last(instance, chain) if reason.run_id not in told)]


def _failed_on(instance: dg.DagsterInstance, chain: Sequence[TableName], days: set[date]) -> Iterator[Reason]:
    """Of each of these days the last run that failed on it; of some other day another may have gone well since."""
    left = set(days)
    for record in _newest(instance) if days else ():
        hit = {day for window in days_of(record.dagster_run.tags) for day in window.days} & left
        found = list(_failures(instance, record, chain)) if hit else []
        left -= hit if found else set()
        yield from found


def _newest(instance: dg.DagsterInstance) -> Sequence[dg.RunRecord]:
    return instance.get_run_records(filters=dg.RunsFilter(statuses=[*_FAILED]), limit=_FAILURES)


def _failed_last(instance: dg.DagsterInstance, chain: Sequence[TableName]) -> Iterator[Reason]:
    """Of each table the last run that was to write it, where that failed. One reason a run and step."""
    keys = {table_key(name): name for name in chain}
    last = {
        keys[record.asset_entry.asset_key]: record.asset_entry.last_run_id
        for record in instance.get_asset_records(list(keys))
    }
    for run_id in dict.fromkeys(last[name] for name in chain if last.get(name)):
        record = instance.get_run_record_by_id(run_id) if run_id else None
        if record is not None and record.dagster_run.status in _FAILED:
            yield from _failures(instance, record, [name for name in chain if last.get(name) == run_id])


def _failures(instance: dg.DagsterInstance, record: dg.RunRecord, tables: Sequence[TableName]) -> Iterator[Reason]:
    run = record.dagster_run
    steps = Planned.of(instance, run.run_id, tables).steps
    written = {
        tuple(event.asset_key.path)
        for event in events_of(instance, run.run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)
        if event.asset_key is not None
    }
    by_step = {
        event.step_key: step_failures([event])
        for event in events_of(instance, run.run_id, dg.DagsterEventType.STEP_FAILURE)
    }
    told = dict[str, list[TableName]]()
    for name, step in steps.items():
        told.setdefault(step, []).append(name)
    for step, names in told.items():
        failure = next(iter(by_step.get(step, ())), None)
        # A step that published some days and held others has written its tables, and failed all the same.
        missed = names if failure is not None else [name for name in names if name.key not in written]
        if missed:
            yield _reason(record, failure, _about(failure, missed, written), others=bool(by_step))


def _about(failure: StepFailure | None, names: Sequence[TableName], written: Collection[tuple[str, ...]]) -> TableName:
    """The table that a failed step is about: the one it names, else the first that it did not write."""
    named = [name for name in names if failure is not None and str(name) in failure.reason]
    missed = [name for name in names if name.key not in written]
    return next(iter([*named, *missed, *names]))


def _reason(record: dg.RunRecord, failure: StepFailure | None, name: TableName, *, others: bool) -> Reason:
    run = record.dagster_run
    if failure is not None:
        what = failure.reason
    elif run.status is dg.DagsterRunStatus.CANCELED:
        what = "its run was canceled"
    else:
        what = "it was not reached: a step before it failed" if others else "its run was stopped from outside"
    return Reason(
        name,
        Kind.FAILED,
        f"run {run.run_id[:8]}: {what}",
        days=days_of(run.tags),
        at=time_of(record.end_time) or record.create_timestamp,
        run_id=run.run_id,
        finding=failure is not None and failure.finding,
    )
