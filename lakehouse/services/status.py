"""What is known of a service, as plain values. Starting and asking do not belong here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

PORT = "{port}"


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A service that the project can start for itself.

    `command` is a program and its words. Where a word has `{port}` in it, that is the loopback port that this very
    process listens on: `port`, else a free one. Without such a word the service chooses by itself and is told
    `--port-file FILE`, where it must write its choice. `stdin` is what it reads at its start and `environment` what is
    added to its environment, the places for secrets: they stand in no list of processes. `health` is an HTTP path that
    answers 200 when the service can be used; without it, a port that answers is enough.
    """

    name: str
    command: Sequence[str]
    stdin: SecretStr = field(default=SecretStr(""))
    folder: Path = Path("/")
    port: int | None = None
    environment: Mapping[str, SecretStr] = field(default_factory=dict)
    health: str | None = None

    @property
    def is_told_its_port(self) -> bool:
        """Whether we choose the port (a word says `{port}`), not the service."""
        return any(PORT in word for word in self.command)


@dataclass(frozen=True, slots=True)
class Status:
    """Whether a service runs, as which process, where it listens (None: on a unix socket) and where it logs."""

    name: str
    running: bool
    pid: int | None = None
    port: int | None = None
    log: Path | None = None
