"""Runs that a machine left behind: it went down, and Dagster still believes that they run.

Nobody would ever end them: Dagster's default launcher cannot tell whether a run's process lives, and while a run is
under way nothing is asked for that it makes. Only for runs whose processes were on this machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import dagster as dg
import structlog

_log = structlog.get_logger(__name__)
_STARTED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
"""Fewer than `under_way.UNFINISHED`: a run that waits in the queue has no process yet that could be gone."""


def end_left_over_runs(instance: dg.DagsterInstance) -> tuple[str, ...]:
    """Report the runs whose process is gone as failed, so that Dagster does them again; their ids.

    A run of which no process is known, and one whose process number somebody else has now, stays as it is.
    """
    ended: list[str] = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=_STARTED)):
        processes = list(_processes(instance, run.run_id))
        if processes and not any(map(_lives, processes)):
            instance.report_run_failed(run, "The process of this run is gone: the machine went down, or it was killed.")
            _log.warning("ended a run whose process is gone", run_id=run.run_id, processes=processes)
            ended.append(run.run_id)
    return tuple(ended)


def _processes(instance: dg.DagsterInstance, run_id: str) -> Iterator[int]:
    """The numbers of the processes that a run told of itself."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.get_dagster_event()
        told = event.engine_event_data.metadata.get("pid")
        if told is not None and str(told.value).isdecimal():
            yield int(str(told.value))


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
