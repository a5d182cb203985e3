"""What Dagster's instance says about why a table is not newer: what is under way, what failed, a daemon at rest.

It only explains: whether a table is up to date is told by the data (`why_lake.py`). Failures are `why_failed.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import date

import dagster as dg

from lakehouse.orchestration.under_way import BACKFILL_ENDED, BACKFILLS, UNFINISHED
from lakehouse.orchestration.why_failed import failed_runs
from lakehouse.orchestration.why_planned import Planned, days_of, time_of
from lakehouse.orchestration.why_reasons import Kind, Reason
from lakehouse.tables import TableName

_WAITING = (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED)
_SENSORS = "SENSOR"


def run_reasons(
    instance: dg.DagsterInstance, chain: Sequence[TableName], out_of_date: Collection[date] = ()
) -> list[Reason]:
    """The unfinished and failed runs of these tables, each with the table furthest upstream that it is about.

    A failed run counts while no other was to write the same table, or else a day that is `out_of_date`.
    """
    return [
        *_under_way(instance, chain),
        *_backfills(instance, chain),
        *failed_runs(instance, chain, out_of_date),
    ]


def daemon_rests(instance: dg.DagsterInstance) -> bool:
    """Whether nothing is asked for by itself, because no daemon that runs sensors was heard of lately."""
    status = instance.get_daemon_statuses([_SENSORS]).get(_SENSORS)
    return status is None or not status.healthy


def _under_way(instance: dg.DagsterInstance, chain: Sequence[TableName]) -> Iterator[Reason]:
    for record in instance.get_run_records(filters=dg.RunsFilter(statuses=UNFINISHED)):
        run, begun = record.dagster_run, time_of(record.start_time) or record.create_timestamp
        planned = Planned.of(instance, run.run_id, chain)
        waits = run.status in _WAITING
        if planned.steps:
            tables = ", ".join(map(str, planned.steps))
            what = f"run {run.run_id[:8]} {'waits in the queue to write' if waits else 'writes'} {tables}"
            first = next(iter(planned.steps))
            yield Reason(first, Kind.RUN, what, days=days_of(run.tags), at=begun, run_id=run.run_id)
        for name in () if waits else planned.kept_up:
            what = f"run {run.run_id[:8]} keeps the table up: whoever writes it waits"
            yield Reason(name, Kind.LOCK, what, at=begun, run_id=run.run_id)


def _backfills(instance: dg.DagsterInstance, chain: Sequence[TableName]) -> Iterator[Reason]:
    """Those that have not ended: their runs follow one another."""
    for backfill in instance.get_backfills(limit=BACKFILLS):
        keys = {tuple(key.path) for key in backfill.asset_selection or ()}
        tables = [name for name in chain if name.key in keys]
        if tables and backfill.status.value not in BACKFILL_ENDED:
            what = f"backfill {backfill.backfill_id} asks for runs of {', '.join(map(str, tables))}"
            yield Reason(tables[0], Kind.RUN, what, at=time_of(backfill.backfill_timestamp))
