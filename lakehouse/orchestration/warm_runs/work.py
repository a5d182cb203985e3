"""What a process forked for a run does, and what it finds imported. How it is forked is `server.py`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points

import dagster as dg

_NEEDED = (
    "lakehouse.definitions",
    "lakehouse.orchestration.build",
    "lakehouse.orchestration.recorded",
    "lakehouse.ingest",
    "lakehouse.changes",
    "lakehouse.upkeep",
    "dagster_aws.s3",
)


def import_all() -> None:
    """Import what runs import. What only some of them need, and quickly, they import themselves."""
    from lakehouse.quality.library import engine
    from lakehouse.transform.fork_serving import import_dbt

    for name in _NEEDED:
        import_module(name)
    _dagster()
    engine()
    import_dbt()


def execute_run(arguments: str) -> None:
    """Execute a run of Dagster's, as its own launchers of containers do: by its command line."""
    from lakehouse.transform.fork_server import inherit

    inherit()
    sys.argv = ["dagster", "api", "execute_run", arguments]
    _dagster()()


def report_lost(run_id: str, process: int, code: int) -> None:
    """Tell Dagster that a run's process ended without saying so: it was killed, or it could not begin."""
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    with dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(run_id)
        if run is not None and run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run)
        elif run is not None and not run.is_finished:
            instance.report_run_failed(run, f"The process of this run ({process}) {how}.")


def _dagster() -> Callable[[], None]:
    """Dagster's command line, by the name that its package publishes."""
    (command,) = entry_points(group="console_scripts", name="dagster")
    loaded: Callable[[], None] = command.load()
    return loaded
