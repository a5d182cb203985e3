"""The Dagster instance of the embedded profile: its folder, its `dagster.yaml`, and how it is opened."""

from __future__ import annotations

import socket
from pathlib import Path

import dagster as dg

from lakehouse.errors import ServiceError
from lakehouse.settings import Settings
from lakehouse.storage import make_room

_INSTANCE = """\
# Written by `lakehouse` when missing; yours to change.
telemetry: {enabled: false}
nux: {enabled: false}
concurrency:
  runs: {max_concurrent_runs: 2}
  # One pool a table: commits to a table follow one another, the lake goes on.
  pools: {granularity: op, default_limit: 1}
run_monitoring: {enabled: true}
retention:
  sensor: {purge_after_days: {skipped: 7, failure: 30, success: -1}}
"""


def prepare_home(settings: Settings) -> Path:
    """Make DAGSTER_HOME with its `dagster.yaml`. Raises StateError when the folder cannot be written."""
    home = make_room(settings.dagster_home)
    file = home / "dagster.yaml"
    if not file.exists():
        file.write_text(_INSTANCE, encoding="utf-8")
    return home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance that the UI shows; use it as a context manager."""
    return dg.DagsterInstance.from_config(str(prepare_home(settings)))


def child_environment(settings: Settings) -> dict[str, str]:
    """What a Dagster process must find in its environment to serve this project."""
    return {
        "DAGSTER_HOME": str(prepare_home(settings)),
        "LAKEHOUSE_PROJECT": str(settings.project),
        "LAKEHOUSE_PROFILE": settings.profile.value,
        "LAKEHOUSE_JSON_LOGS": "true",
        # `dagster dev` announces its own successor at each start, which is nothing that a user of ours could act on.
        "PYTHONWARNINGS": "ignore:Function `dev_command` is superseded",
    }


def check_port(host: str, port: int) -> None:
    """Raise ServiceError when somebody listens there already, before Dagster spends its start-up on it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        if probe.connect_ex((host, port)) == 0:
            raise ServiceError(
                f"port {port} on {host} is in use",
                expected="a free port for the Dagster UI",
                remedy="Stop what listens there, or set LAKEHOUSE_UI__PORT to another port.",
            )
