"""Toxiproxy, a TCP proxy that loses, cuts and delays: for tests of what a bad network does. Its client: `toxics.py`."""

from __future__ import annotations

from pathlib import Path

from lakehouse.services.servers import go
from lakehouse.services.servers.versions import TOXIPROXY, ServerKind
from lakehouse.services.status import ServiceSpec

VERSION = TOXIPROXY.version
MINUTES = TOXIPROXY.minutes


def build(into: Path) -> None:
    """Build the program (`server`, there) into the folder. Raises ServiceError."""
    go.build(TOXIPROXY, ServerKind.TOXIPROXY, into)


def toxiproxy_spec(installed: Path, port: int | None = None) -> ServiceSpec:
    """The service; its port is that of its own API, and every proxy listens on another."""
    command = (str(installed / ServerKind.TOXIPROXY), "-host", "127.0.0.1", "-port", "{port}")
    return ServiceSpec(ServerKind.TOXIPROXY.value, command, port=port, health="/version")
