"""A process of dbt: started with what it needs on stdin, read line by line, and never left behind.

dbt runs apart from us because it keeps global state and views of the lake that go stale. The settings cross on stdin:
secrets stand neither in the command line, nor in the environment, nor in a file. What it does is `dbt_main.py`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from lakehouse.settings import Settings
from lakehouse.tables import Window

_GRACE_SECONDS = 5


@dataclass(frozen=True)
class Request:
    """What a process of dbt is asked to do. `arguments` are those of dbt's command line."""

    settings: Settings
    arguments: tuple[str, ...]
    branch: str = "main"
    run_key: str = ""
    window: Window | None = None

    def to_json(self) -> str:
        """With secrets in clear: for a pipe only."""
        window = self.window and [self.window.start.isoformat(), self.window.end.isoformat()]
        values = {"settings": self.settings.model_dump(), "arguments": self.arguments}
        return json.dumps(
            {**values, "branch": self.branch, "run_key": self.run_key, "window": window}, default=_revealed
        )

    @classmethod
    def from_json(cls, text: str) -> Request:
        """The reverse of `to_json`."""
        values = json.loads(text)
        window = values["window"] and Window(*(date.fromisoformat(day) for day in values["window"]))
        return cls(
            Settings(**values["settings"]), tuple(values["arguments"]), values["branch"], values["run_key"], window
        )


@contextmanager
def started(request: Request, log: Path) -> Iterator[Iterator[Mapping[str, Any]]]:
    """Start the process and give its reports, each a JSON object; what it prints besides goes to the file `log`.

    Leaving the context, for whatever reason, ends the process and all that it started.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "lakehouse.transform.dbt_main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=request.settings.project,
            text=True,
            start_new_session=True,
        )
        try:
            yield _reports(process, request)
        finally:
            _end(process)


def _reports(process: subprocess.Popen[str], request: Request) -> Iterator[Mapping[str, Any]]:
    if process.stdin is None or process.stdout is None:  # pragma: no cover  (both are pipes, see above)
        return
    try:
        process.stdin.write(request.to_json())
        process.stdin.close()
    except BrokenPipeError:
        return  # It died at once; the missing last report says so, and the log says why.
    for line in process.stdout:
        yield json.loads(line)


def _end(process: subprocess.Popen[str]) -> None:
    """Ask the whole process group to end, then make it."""
    if process.poll() is None:
        _signal(process.pid, signal.SIGTERM)
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        _signal(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None and not pipe.closed:
            pipe.close()


def _signal(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return  # It ended between the look and the signal.


def _revealed(value: object) -> object:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value)
    message = f"a setting of type {type(value).__name__} cannot cross to dbt's process"
    raise TypeError(message)
