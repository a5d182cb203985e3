"""Runs in processes that were forked: executed, watched over and ended as others, begun by Dagster itself otherwise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest

from assets_tests.orchestration.waiting_job import waiting
from lakehouse.environment import exported
from lakehouse.orchestration.home import child_environment, open_instance
from lakehouse.orchestration.warm_runs.client import SOCKET, ask
from lakehouse.orchestration.warm_runs.imported import Imported
from lakehouse.orchestration.warm_runs.launcher import WarmRunLauncher
from lakehouse.settings import Settings, load_settings

if not sys.platform.startswith("linux"):
    pytest.skip("processes are forked on Linux only", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120
SLOWLY = "DefaultRunLauncher requires a workspace"
# What `lakehouse ui` does before it becomes Dagster; its end is that of Dagster.
DAGSTER = """
import os, sys
from lakehouse.orchestration.warm_runs.start import start
print(start(os.environ)[sys.argv[1]], flush=True)
sys.stdin.read()
"""


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def made(instance: dg.DagsterInstance, until: Path) -> dg.DagsterRun:
    return instance.create_run_for_job(
        job_def=waiting,
        job_code_origin=dg.reconstructable(waiting).get_python_origin(),
        run_config={"ops": {"wait": {"config": {"until": str(until)}}}},
    )


def launch(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    launcher = instance.run_launcher
    assert isinstance(launcher, WarmRunLauncher)
    launcher.launch_run(SimpleNamespace(dagster_run=run, workspace=None))


class Dagster:
    """A process that stands for Dagster's, with its server of warm runs, and an instance that launches by it."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.instance, self.folder = instance, settings.state
        # The server imports a module of ours, too, as every Python process does.
        self.customs = self.folder / "sitecustomize.py"
        self.customs.write_text("")
        path = os.pathsep.join(filter(None, [str(self.folder), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-c", DAGSTER, SOCKET],
            env={**os.environ, **child_environment(settings), "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        with self._process.stdout as said:
            self.socket = Path(said.readline().strip())

    @property
    def warm(self) -> bool:
        return ask({"interrupt": "nobody"}) == {"found": False}

    @property
    def server(self) -> int:
        """The process of the server, a child of the one that stands for Dagster."""
        return int(Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text())

    def end(self) -> None:
        """End it as Dagster ends; its server follows."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)

    def launch(self, until: str = "go") -> str:
        """Begin a run that waits for a file; its id."""
        run = made(self.instance, self.folder / until)
        launch(self.instance, run)
        return run.run_id

    def run(self, run_id: str) -> dg.DagsterRun:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run

    def process(self, run_id: str) -> int:
        return int(self.run(run_id).tags["lakehouse/process"])

    def wait_for(self, run_id: str, *statuses: dg.DagsterRunStatus) -> None:
        wait_until(lambda: self.run(run_id).status in statuses)

    def wait_for_end_of(self, run_id: str) -> None:
        """Wait until the process of a run is gone."""
        wait_until(lambda: not Path(f"/proc/{self.process(run_id)}").exists())

    def told(self, run_id: str) -> str:
        """All messages of a run."""
        return "\n".join(entry.user_message or str(entry.dagster_event) for entry in self.instance.all_logs(run_id))


@contextmanager
def served(settings: Settings) -> Iterator[Dagster]:
    with open_instance(settings) as instance:
        dagster = Dagster(settings, instance)
        try:
            with exported({SOCKET: str(dagster.socket)}):
                yield dagster
        finally:
            (dagster.folder / "go").touch()
            dagster.end()
        wait_until(lambda: not dagster.socket.parent.exists())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dagster]:
    """For tests that leave its server as it is."""
    with served(load_settings(ROOT, state=str(tmp_path_factory.mktemp("state")))) as dagster:
        wait_until(lambda: dagster.warm)
        yield dagster


@pytest.fixture
def dagster(settings: Settings) -> Iterator[Dagster]:
    with served(settings) as dagster:
        wait_until(lambda: dagster.warm)
        yield dagster


def test_runs_are_executed_killed_and_interrupted_in_processes_of_their_own(shared: Dagster) -> None:
    executed, killed, interrupted = (shared.launch(until) for until in ("now", "never", "never"))
    for run_id in (executed, killed, interrupted):
        shared.wait_for(run_id, dg.DagsterRunStatus.STARTED)
        assert f"Started process for run (pid: {shared.process(run_id)})" in shared.told(run_id)

    (shared.folder / "now").touch()
    shared.wait_for(executed, dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE)
    assert shared.run(executed).is_success, shared.told(executed)
    shared.wait_for_end_of(executed)

    os.kill(shared.process(killed), signal.SIGKILL)
    shared.wait_for(killed, dg.DagsterRunStatus.FAILURE)
    assert f"({shared.process(killed)}) was ended by SIGKILL" in shared.told(killed)

    assert shared.instance.run_launcher.terminate(interrupted)
    shared.wait_for(interrupted, dg.DagsterRunStatus.CANCELED)
    assert not shared.instance.run_launcher.terminate(interrupted)
    shared.wait_for_end_of(interrupted)


def test_a_run_that_cannot_begin_is_said_to_have_failed(shared: Dagster) -> None:
    run_id = made(shared.instance, shared.folder).run_id
    assert ask({"run_id": run_id, "execute": "{}"}) is not None
    shared.wait_for(run_id, dg.DagsterRunStatus.FAILURE)
    assert "ended with code 1" in shared.told(run_id)


def test_code_that_changed_is_imported_anew_and_runs_under_way_are_still_watched_over(dagster: Dagster) -> None:
    before = dagster.launch("never")
    dagster.wait_for(before, dg.DagsterRunStatus.STARTED)
    dagster.customs.write_text("CHANGED = True\n")
    with pytest.raises(dg.DagsterInvariantViolationError, match=SLOWLY):
        dagster.launch()
    wait_until(lambda: dagster.warm)
    after = dagster.launch("never")
    dagster.wait_for(after, dg.DagsterRunStatus.STARTED)
    for run_id in (before, after):
        os.kill(dagster.process(run_id), signal.SIGKILL)
        dagster.wait_for(run_id, dg.DagsterRunStatus.FAILURE)


def test_code_that_cannot_be_imported_keeps_runs_slow_until_it_is_mended(settings: Settings) -> None:
    broken = settings.state / "dagster_aws.py"
    broken.write_text("raise RuntimeError('broken')")
    with served(settings) as dagster:
        wait_until(lambda: dagster.warm)
        broken.unlink()
        with pytest.raises(dg.DagsterInvariantViolationError, match=SLOWLY):
            dagster.launch()
        wait_until(lambda: dagster.warm)
        dagster.wait_for(dagster.launch(), dg.DagsterRunStatus.STARTED)


def test_a_run_goes_on_when_dagster_has_ended(dagster: Dagster) -> None:
    run_id = dagster.launch()
    dagster.wait_for(run_id, dg.DagsterRunStatus.STARTED)
    server = dagster.server
    dagster.end()
    wait_until(lambda: not dagster.socket.exists())
    os.kill(server, 0)
    with pytest.raises(dg.DagsterInvariantViolationError, match=SLOWLY):
        dagster.launch()
    (dagster.folder / "go").touch()
    dagster.wait_for(run_id, dg.DagsterRunStatus.SUCCESS)


def test_a_server_that_is_silent_is_not_waited_for(shared: Dagster) -> None:
    os.kill(shared.server, signal.SIGSTOP)
    with pytest.raises(dg.DagsterInvariantViolationError, match=SLOWLY):
        shared.launch()
    os.kill(shared.server, signal.SIGCONT)
    # Whoever asked and went away left nothing behind.
    wait_until(lambda: shared.warm)
    assert shared.instance.get_runs(limit=1)[0].status is dg.DagsterRunStatus.NOT_STARTED


def test_without_a_server_runs_begin_as_dagster_begins_them(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SOCKET, raising=False)
    with open_instance(settings) as instance, pytest.raises(dg.DagsterInvariantViolationError, match=SLOWLY):
        launch(instance, made(instance, settings.state))


def test_a_file_that_was_imported_is_seen_to_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "imported_here.py"
    file.write_text("")
    os.utime(file, ns=(10, 10))
    module = SimpleNamespace(__file__=str(file))
    monkeypatch.setitem(sys.modules, "imported_here", module)
    later = time.time_ns() + 3600 * 10**9
    imported = Imported(later)
    assert not imported.changed()
    os.utime(file, ns=(11, 11))
    assert imported.changed()
    assert not Imported(later).changed()
    # It changed while it was imported: nobody knows which of the two is in memory.
    assert Imported(11).changed()
    file.unlink()
    assert Imported(later).changed() is False
