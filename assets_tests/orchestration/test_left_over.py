"""Runs whose process is gone are ended when the UI starts, and nobody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import dagster as dg
from pydantic import SecretStr

from lakehouse.orchestration.home import child_environment, open_instance
from lakehouse.orchestration.left_over import end_left_over_runs
from lakehouse.settings import Dagster, Settings

ENDLESS = """
    import os, sys
    import dagster as dg

    @dg.op
    def endless():
        print("begun", flush=True)
        sys.stdin.read()

    @dg.job(executor_def=dg.in_process_executor)
    def work():
        endless()

    with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
        work.execute_in_process(instance=instance)
"""


def start(settings: Settings) -> subprocess.Popen[str]:
    """A process in the middle of a run."""
    program = settings.state / "endless.py"
    program.write_text(textwrap.dedent(ENDLESS))
    running = subprocess.Popen(
        [sys.executable, str(program)],
        env={**os.environ, **child_environment(settings)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert running.stdout is not None
    assert "begun" in running.stdout.readline()
    return running


def kill(running: subprocess.Popen[str]) -> None:
    running.send_signal(signal.SIGKILL)
    running.wait()


def statuses(settings: Settings) -> list[dg.DagsterRunStatus]:
    with open_instance(settings) as instance:
        return [run.status for run in instance.get_runs()]


def test_a_run_that_was_killed_with_its_machine_is_ended_when_the_ui_starts_and_none_that_lives(
    settings: Settings,
) -> None:
    with start(settings) as running:
        child_environment(settings)
        assert statuses(settings) == [dg.DagsterRunStatus.STARTED]
        kill(running)
    assert statuses(settings) == [dg.DagsterRunStatus.STARTED]
    child_environment(settings)
    assert statuses(settings) == [dg.DagsterRunStatus.FAILURE]


def test_a_run_that_told_of_no_process_is_left_alone() -> None:
    @dg.op
    def nothing() -> None:
        pass

    @dg.job
    def work() -> None:
        nothing()

    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(work, status=dg.DagsterRunStatus.STARTED)
        assert end_left_over_runs(instance) == ()
        assert [one.run_id for one in instance.get_runs()] == [run.run_id]


def test_where_other_machines_run_too_nobody_is_ended(settings: Settings, database: SecretStr) -> None:
    shared = settings.model_copy(update={"dagster": Dagster(storage=database)})
    with start(shared) as running:
        kill(running)
    child_environment(shared)
    assert statuses(shared) == [dg.DagsterRunStatus.STARTED]
