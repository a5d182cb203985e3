"""What is being made right now, as the instance knows it: runs and backfills that have not ended, and how runs ended.

It only keeps us from asking for what is being done; whether a table follows its inputs is for `lakehouse/changes/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from lakehouse.orchestration.conditions import ASKED_BY
from lakehouse.tables import Layer, TableName

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
"""The states of a run that has not ended, whether or not a process of it lives yet."""
BACKFILLS = 25
"""How many of the newest backfills are looked at."""
BACKFILL_ENDED = {"COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"}
BY_HAND = "lakehouse/backfill"
"""Tag of the runs of `lakehouse backfill`: the tables of all of them, for one run follows the other."""
BETWEEN = timedelta(seconds=20)
"""So long after such a run the next one is waited for."""
_REASON = "dagster/failure_reason"
_OWN_FAILURE = {"STEP_FAILURE", "RUN_EXCEPTION", "JOB_INITIALIZATION_FAILURE"}
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_DAY = "dagster/partition"
_LAYERS = {layer.value for layer in Layer}

Jobs = Mapping[str, frozenset[TableName]]
"""The tables that a job makes, by its name, for a run of a whole job does not say it itself. Upkeep makes none."""


@dataclass(frozen=True)
class UnderWay:
    """The tables that are being made. `who`: the runs and backfills that do it, for people.

    A run of a job that we do not know is among `who`, and nobody knows what it makes.
    """

    tables: frozenset[TableName]
    who: tuple[str, ...]


def under_way(instance: dg.DagsterInstance, jobs: Jobs) -> UnderWay:
    """What unfinished runs make, and backfills that somebody started by hand, between two of their runs too."""
    tables: set[TableName] = set()
    who: list[str] = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED)):
        made = _made_by(run, jobs)
        if made or made is None:
            tables |= (made or set()) | _by_hand(run)
            who.append(f"run {run.run_id[:8]}")
    for run in instance.get_runs(filters=dg.RunsFilter(updated_after=datetime.now(UTC) - BETWEEN)):
        if run.status not in UNFINISHED and (more := _by_hand(run)):
            tables |= more
            who.append(f"the run after {run.run_id[:8]}")
    for backfill in instance.get_backfills(limit=BACKFILLS):
        # What we asked for stands in our cursor; and Dagster looks at a backfill's end twice a minute only.
        if backfill.status.value not in BACKFILL_ENDED and ASKED_BY not in backfill.tags:
            tables |= _tables(backfill.asset_selection or ())
            who.append(f"backfill {backfill.backfill_id}")
    return UnderWay(frozenset(tables), tuple(who))


@dataclass(frozen=True)
class Attempts:
    """The runs that were made since some moment."""

    runs: tuple[dg.DagsterRun, ...]
    jobs: Jobs

    @classmethod
    def since(cls, instance: dg.DagsterInstance, moment: float, jobs: Jobs) -> Attempts:
        """`moment` in seconds of the epoch."""
        made = dg.RunsFilter(created_after=datetime.fromtimestamp(moment, UTC))
        return cls(tuple(instance.get_runs(filters=made)), jobs)

    def settled(self, name: TableName, day: date | None = None) -> bool:
        """Whether one of them was to make this (day of the) table, and failed by itself or was canceled by somebody."""
        return any(
            run.status is dg.DagsterRunStatus.CANCELED or failed_itself(run, self.jobs, name, day)
            for run in self.runs
            if _makes(run, self.jobs, name, day)
        )


def failed_itself(run: dg.DagsterRun, jobs: Jobs, name: TableName, day: date | None) -> bool:
    """Whether a run that was to make this (day of the) table failed by itself. One that was killed has not."""
    failed = run.status is dg.DagsterRunStatus.FAILURE and run.tags.get(_REASON) in _OWN_FAILURE
    return failed and _makes(run, jobs, name, day)


def _makes(run: dg.DagsterRun, jobs: Jobs, name: TableName, day: date | None) -> bool:
    return name in (_made_by(run, jobs) or ()) and (day is None or _covers(run, day))


def _made_by(run: dg.DagsterRun, jobs: Jobs) -> frozenset[TableName] | None:
    """None: nobody knows. A run of checks alone makes nothing."""
    if run.asset_selection is None:
        return frozenset() if run.asset_check_selection is not None else jobs.get(run.job_name)
    return _tables(run.asset_selection)


def _by_hand(run: dg.DagsterRun) -> frozenset[TableName]:
    """The tables of the backfill that a run is part of."""
    return frozenset(map(TableName.parse, filter(None, run.tags.get(BY_HAND, "").split(","))))


def _tables(keys: Iterable[dg.AssetKey]) -> frozenset[TableName]:
    return frozenset(TableName(Layer(key.path[0]), key.path[1]) for key in keys if _is_table(key))


def _is_table(key: dg.AssetKey) -> bool:
    return len(key.path) == 2 and key.path[0] in _LAYERS  # noqa: PLR2004  (layer and table)


def _covers(run: dg.DagsterRun, day: date) -> bool:
    text = day.isoformat()
    first, last = (run.tags.get(tag) for tag in _RANGE)
    if first is not None and last is not None:
        return first <= text <= last
    return run.tags.get(_DAY) == text
