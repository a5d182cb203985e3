"""What is known of a service, as plain values. Starting and asking do not belong here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A service that the project can start for itself.

    `command` is a program and its words; `--port-file FILE` is added, where it must write the port it listens on.
    `stdin` is what it reads at its start, the place for secrets: it stands in no list of processes.
    """

    name: str
    command: Sequence[str]
    stdin: SecretStr = field(default=SecretStr(""))
    folder: Path = Path("/")


@dataclass(frozen=True, slots=True)
class Status:
    """Whether a service runs, as which process, where it listens (None: on a unix socket) and where it logs."""

    name: str
    running: bool
    pid: int | None = None
    port: int | None = None
    log: Path | None = None
