"""A process of dbt: started with what it needs on stdin, read line by line, and never left behind.

A process is forked from one that has imported dbt already (`fork_server.py`).
dbt runs apart from us because it keeps global state and views of the lake that go stale. The settings cross on stdin:
secrets stand neither in the command line, nor in the environment, nor in a file. What it does is `dbt_main.py`.
In between it may ask, and gets one answer to each question: JSON lines both ways, by id. Its stdin stays open as long
as it is wanted: a process whose stdin ends is nobody's, and ends too (`dbt_parent.py`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TextIO

from pydantic import SecretStr

from lakehouse.settings import Settings
from lakehouse.tables import Window
from lakehouse.transform.folders import work_folder
from lakehouse.transform.fork_server import ForkServer, fork_server

Answer = Callable[[str], Mapping[str, Any]]
"""Answers what the process asks about the node of this unique id, as JSON can hold it."""
QUESTION = "ask"
_GRACE_SECONDS = 5


def _no_answer(unique_id: str) -> Mapping[str, Any]:
    message = f"dbt's process asks about {unique_id}, and nobody answers"
    raise RuntimeError(message)


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


def warm(settings: Settings) -> ForkServer:
    """What dbt's processes are forked from; started, if it was not, and not waited for."""
    return fork_server(work_folder(settings) / "fork_server.log")


@contextmanager
def started(request: Request, log: Path, answer: Answer = _no_answer) -> Iterator[Iterator[Mapping[str, Any]]]:
    """Start the process and give its reports, each a JSON object; what it prints besides goes to the file `log`.

    What it asks is answered where the reports are read, one question after the other; what `answer` raises is raised
    there. Leaving the context, for whatever reason, ends the process and all that it started.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    server = warm(request.settings)
    (asked, answers), (read, reported) = os.pipe(), os.pipe()
    with log.open("wb") as errors, os.fdopen(answers, "w") as to_dbt, os.fdopen(read) as from_dbt:
        try:
            process = server.fork(request.settings.project, [asked, reported, errors.fileno()])
        finally:
            os.close(asked)
            os.close(reported)
        try:
            yield _reports(to_dbt, from_dbt, request, answer)
        finally:
            process.end(_GRACE_SECONDS)
            with suppress(BrokenPipeError):  # What a dead process was not told is still in the buffer.
                to_dbt.close()


def _reports(to_dbt: TextIO, from_dbt: TextIO, request: Request, answer: Answer) -> Iterator[Mapping[str, Any]]:
    _tell(to_dbt, request.to_json())
    for line in from_dbt:
        report = json.loads(line)
        if QUESTION in report:
            unique_id = report[QUESTION]
            _tell(to_dbt, json.dumps({"id": unique_id, **answer(unique_id)}))
        else:
            yield report


def _tell(to_dbt: TextIO, line: str) -> None:
    """One line to the process. One that died in the meantime hears nothing; the missing last report says so."""
    with suppress(BrokenPipeError):
        to_dbt.write(f"{line}\n")
        to_dbt.flush()


def _revealed(value: object) -> object:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value)
    message = f"a setting of type {type(value).__name__} cannot cross to dbt's process"
    raise TypeError(message)
