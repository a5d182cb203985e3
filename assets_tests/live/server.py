"""`lakehouse ui` as people start it: Dagster's webserver, its code server and its daemon, which can be killed.

What Dagster says once it answers belongs in `api.py`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

COMMAND = Path(sys.executable).with_name("lakehouse")
_PATIENCE_SECONDS = 300
_LOOK_SECONDS = 0.2


class Server:
    """One UI over a state folder, started and ended any number of times, always at the same address."""

    def __init__(self, project: Path, state: Path, **settings: str) -> None:
        port = _free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAKEHOUSE_", "DAGSTER_"))}
        ours = {"LAKEHOUSE_STATE": str(state), "LAKEHOUSE_PROJECT": str(project), "LAKEHOUSE_UI__PORT": str(port)}
        self.environment: Mapping[str, str] = {**kept, **ours, **settings}
        self.url = f"http://127.0.0.1:{port}"
        self._project, self._log = project, state / "ui.log"
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, *words: str) -> str:
        """A command of ours on the same state; what it prints."""
        done = subprocess.run(
            [COMMAND, *words], env=self.environment, cwd=self._project, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        """Start it, and wait until it answers and its daemon is well."""
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                [COMMAND, "ui"],
                env=self.environment,
                cwd=self._project,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"`lakehouse ui` does not answer:\n{self.said()}")
            time.sleep(_LOOK_SECONDS)

    def kill_daemon(self) -> None:
        """SIGKILL to the daemon alone; Dagster notices, and ends with it. Returns when all of it has."""
        process = self._running()
        os.kill(self._daemon(process.pid), signal.SIGKILL)
        process.wait(_PATIENCE_SECONDS)
        # Nothing that it started goes on beside its successor: not a run, not a code server.
        self._kill_group(process.pid)
        self._process = None

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        # Runs that were under way, and a Dagster that was started deaf to SIGINT.
        self._kill_group(process.pid)
        process.wait()

    def said(self) -> str:
        """The end of what it wrote."""
        return self._log.read_text(errors="replace")[-20_000:]

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was not started"
        return self._process

    def _answers(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/server_info").is_success
        return False

    @staticmethod
    def _daemon(group: int) -> int:
        """The process id of the daemon of a process group."""
        listed = subprocess.run(["ps", "-axww", "-o", "pid=,pgid=,args="], capture_output=True, text=True, check=True)
        rows = (line.split(maxsplit=2) for line in listed.stdout.splitlines())
        found = [int(pid) for pid, pgid, args in rows if int(pgid) == group and "dagster._daemon" in args]
        assert len(found) == 1, f"{len(found)} daemons run in process group {group}"
        return found[0]

    @staticmethod
    def _kill_group(group: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
