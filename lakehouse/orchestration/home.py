"""The Dagster instance of a project: DAGSTER_HOME, its `dagster.yaml`, what its processes need, and how it is opened.

The file names variables, never a secret; `lakehouse` sets them for the processes that it starts, and for itself.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from lakehouse.environment import exported
from lakehouse.errors import ServiceError, SettingsError
from lakehouse.orchestration import s3
from lakehouse.settings import Settings
from lakehouse.storage import from_uri, is_s3, make_room

_POSTGRES = "DAGSTER_POSTGRES_URL"
_TICK_SECONDS = 300
_PLAIN = re.compile(r"^postgres(ql)?(\+psycopg)?://")
_INSTANCE = """\
# Written by `lakehouse` when missing; yours to change.
telemetry: {enabled: false}
nux: {enabled: false}
concurrency:
  runs: {max_concurrent_runs: 2}
  # One pool a table: commits to a table follow one another, the lake goes on.
  pools: {granularity: op, default_limit: 1}
# A run is forked from a process that has imported everything, where `lakehouse ui` keeps one.
run_launcher: {module: lakehouse.orchestration.warm_runs.launcher, class: WarmRunLauncher}
# A late row waits for no queue: what is asked for begins at once.
run_queue: {dequeue_interval_seconds: 1}
sensors: {use_threads: true, num_workers: 4}
run_monitoring:
  enabled: true
  start_timeout_seconds: 120
  poll_interval_seconds: 30
  # A run that was killed keeps its place in the pools for ever otherwise, and its tables wait as long.
  free_slots_after_run_end_seconds: 5
# A run that was killed is done again; one that failed by itself would only fail again.
run_retries: {enabled: true, max_retries: 2, retry_on_asset_or_op_failure: false}
retention:
  sensor: {purge_after_days: {skipped: 7, failure: 30, success: -1}}
"""
_STORAGE = f"""\
storage:
  postgres:
    postgres_url: {{env: {_POSTGRES}}}
"""
_LOGS = """\
compute_logs:
  # Keys are boto3's own: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role.
  module: dagster_aws.s3.compute_log_manager
  class: S3ComputeLogManager
"""
_SIGNATURE = """\
[default]
s3 =
    signature_version = s3v4
"""


def prepare_home(settings: Settings) -> Path:
    """Make DAGSTER_HOME with its `dagster.yaml`. Raises StateError when the folder cannot be written, SettingsError."""
    home = make_room(settings.dagster_home)
    file = home / "dagster.yaml"
    if not file.exists():
        file.write_text(_INSTANCE + _storage(settings) + _logs(settings, home), encoding="utf-8")
    return home


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance that the UI shows, and while it is open the variables that it needs in this process.

    Raises ServiceError when the database of its runs does not answer, StateError, SettingsError.
    """
    home = prepare_home(settings)
    with exported(_variables(settings)), _opened(settings, home) as instance:
        yield instance


def child_environment(settings: Settings) -> dict[str, str]:
    """What a Dagster process must find in its environment to serve this project. Starts what it stores its runs in.

    Runs that a machine left behind when it went down are ended, so that they are done again.
    """
    from lakehouse.orchestration.left_over import end_left_over_runs

    # Dagster's tables are made here: its server and its daemon, started at once, would both try.
    with open_instance(settings) as instance:
        if _on_this_machine(settings):
            end_left_over_runs(instance)
    return {
        "DAGSTER_HOME": str(prepare_home(settings)),
        "LAKEHOUSE_PROJECT": str(settings.project),
        "LAKEHOUSE_PROFILE": settings.profile.value,
        "LAKEHOUSE_JSON_LOGS": "true",
        # A tick of upkeep looks at every table of its domain: hundreds of them take longer than Dagster's minute.
        "DAGSTER_SCHEDULE_GRPC_TIMEOUT_SECONDS": str(_TICK_SECONDS),
        # `dagster dev` announces its own successor at each start, which is nothing that a user of ours could act on.
        "PYTHONWARNINGS": "ignore:Function `dev_command` is superseded",
        **_variables(settings),
        **_signed(settings),
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


def _on_this_machine(settings: Settings) -> bool:
    """Whether all runs of the instance are: others' processes are not seen from here."""
    storage = settings.dagster.storage
    return storage is None or storage.get_secret_value().startswith("embedded://")


def _opened(settings: Settings, home: Path) -> dg.DagsterInstance:
    if settings.dagster.storage is None:
        return dg.DagsterInstance.from_config(str(home))
    from dagster_postgres.utils import DagsterPostgresException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return dg.DagsterInstance.from_config(str(home))
    except (DagsterPostgresException, SQLAlchemyError) as error:
        cause = error.__cause__ or error
        raise ServiceError(
            "the database of Dagster's runs does not answer",
            found=str(getattr(cause, "orig", cause)).partition("\n")[0],
            remedy="Check LAKEHOUSE_DAGSTER__STORAGE, and that it runs (`lakehouse service status`).",
        ) from None


def _storage(settings: Settings) -> str:
    return "" if settings.dagster.storage is None else _STORAGE


def _logs(settings: Settings, home: Path) -> str:
    place = settings.dagster.logs
    if place is None:
        return ""
    if not is_s3(from_uri(place)):
        raise SettingsError(
            "setting 'dagster.logs' cannot be used",
            expected="s3://bucket/prefix, or nothing: then logs are in DAGSTER_HOME",
            found=place,
            remedy="Mend it in [tool.lakehouse] or in the variable LAKEHOUSE_DAGSTER__LOGS.",
        )
    bucket, _, prefix = from_uri(place).removeprefix("s3://").partition("/")
    config = {"bucket": bucket, "prefix": prefix, "region": settings.s3.region, "local_dir": str(home / "logs")}
    endpoint = {} if settings.s3.endpoint is None else {"endpoint_url": {"env": s3.ENDPOINT}}
    # JSON is YAML, and needs no rules of its own for odd letters in a path.
    return f"{_LOGS}  config: {json.dumps({**config, **endpoint})}\n"


def _variables(settings: Settings) -> dict[str, str]:
    """Addresses and keys that Dagster and boto3 read from the environment only."""
    from lakehouse.services.endpoints import postgres_url

    found = {}
    if settings.dagster.storage is not None:
        url = postgres_url(settings, settings.dagster.storage).get_secret_value()
        # dagster-postgres speaks psycopg2's dialect; without a word SQLAlchemy takes psycopg.
        found[_POSTGRES] = _PLAIN.sub("postgresql+psycopg2://", url)
    return {**found, **s3.variables(settings)}


def _signed(settings: Settings) -> dict[str, str]:
    """The UI's links to logs are signed as boto3 does by default, which no server but AWS takes."""
    if not (settings.s3.endpoint or "").startswith("embedded://"):
        return {}
    file = settings.dagster_home / "aws.config"
    file.write_text(_SIGNATURE, encoding="utf-8")
    return {"AWS_CONFIG_FILE": str(file), "AWS_PROFILE": "default"}
