"""The sections of the settings: what can be set about each part, with its default and its limits.

Which value is in force is `project.py`. What a value is used for does not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, SecretStr, Tag

_READER = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Catalog(_Section):
    """The Iceberg catalog. `embedded://<database>` is the PostgreSQL that the project runs itself.

    `http(s)://` is a REST catalog: `warehouse` is its name for ours, `token` or `credential` (`id:secret`) are for it.
    `timeout_s`: seconds to wait for an answer of any catalog that is a server.
    """

    name: str = "lake"
    uri: SecretStr = SecretStr("embedded://lakehouse")
    warehouse: str | None = None
    token: SecretStr | None = None
    credential: SecretStr | None = None
    timeout_s: float = Field(default=30, gt=0)


class S3(_Section):
    """Where S3 is. No endpoint: AWS; `embedded://s3`: the server that the project runs itself, with keys of its own.

    Elsewhere, without keys, boto3's own chain (roles, profiles) is asked. `timeout_s`: seconds to wait for an answer.
    """

    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    timeout_s: float = Field(default=30, gt=0)


class PostgresSource(_Section):
    """A PostgreSQL database that rows are read from; `embedded://<database>` as in the catalog."""

    kind: Literal["postgres"] = "postgres"
    url: SecretStr


class Dagster(_Section):
    """Where Dagster keeps runs, events and schedules, and what steps print. Without them: in DAGSTER_HOME.

    `storage` is a PostgreSQL database (`embedded://<database>` as in the catalog), `logs` a place `s3://bucket/prefix`.
    """

    storage: SecretStr | None = None
    logs: str | None = None


class FilesSource(_Section):
    """A landing folder, or a bucket's prefix `s3://bucket/prefix`. A relative root is taken from the state folder.

    `settle`: seconds that a file must lie unchanged before it is read; default 2 in a folder, 0 on S3. 0 is right where
    files are renamed into their place.
    """

    kind: Literal["files"] = "files"
    root: str
    settle: float | None = Field(default=None, ge=0)


class HttpSource(_Section):
    """An HTTP API, and what it wants to be shown.

    `token` is sent as a bearer token, `user` and `password` as basic authentication, `headers` and `params` (of the
    query) as they are named; to this host and no other.
    """

    kind: Literal["http"] = "http"
    base_url: str
    token: SecretStr | None = None
    user: str | None = None
    password: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    params: dict[str, SecretStr] = Field(default_factory=dict)


class OwnSource(_Section):
    """A source of another kind: `kind` is its reader, `package.module:Class` (docs/add-a-source.md).

    What is in `options` and `secrets` is the reader's business; a secret is best set in the environment, as
    `LAKEHOUSE_SOURCES__<NAME>__SECRETS__<KEY>`, and has its key in small letters.
    """

    kind: str = Field(pattern=_READER)
    options: dict[str, Any] = Field(default_factory=dict)
    secrets: dict[str, SecretStr] = Field(default_factory=dict)


def _kind(source: object) -> str | None:
    """A kind with a colon is a reader of the project's own."""
    kind = source.get("kind") if isinstance(source, Mapping) else getattr(source, "kind", None)
    return "own" if isinstance(kind, str) and ":" in kind else kind


Source = Annotated[
    Annotated[PostgresSource, Tag("postgres")]
    | Annotated[FilesSource, Tag("files")]
    | Annotated[HttpSource, Tag("http")]
    | Annotated[OwnSource, Tag("own")],
    Discriminator(
        _kind,
        custom_error_type="kind",
        custom_error_message="kind 'postgres', 'files', 'http', or a reader as 'package.module:Class'",
    ),
]


class Loads(_Section):
    """How bronze tables are loaded.

    `retry_seconds`: for how long a load that failed for a reason that may pass is tried again; 0: never.
    """

    retry_seconds: float = Field(default=60, ge=0)


class Quality(_Section):
    """How tables are judged before they are published.

    `clock`: SQL over the lake that says what time it is, for sources that live in a time of their own; without it, the
    machine's. `sample_rows`: failing rows shown of a rule. `history`: judgements of a table kept in the data docs.
    """

    clock: str | None = None
    sample_rows: int = Field(default=10, ge=0, le=1000)
    history: int = Field(default=20, ge=1)


class Transform(_Section):
    """How silver and gold are built. `days_at_once`: a build of more days is made in slices of so many days.

    Each slice is audited and published before the next one begins.
    """

    days_at_once: int = Field(default=31, ge=1)


class Upkeep(_Section):
    """When and how tables are kept up; what a table alone is about stands in its contract (`upkeep`).

    `schedule`: cron in UTC. `orphan_age_hours`: how long a file must have been seen that no table knows before it is
    removed. `audits_kept_days`: of branches that were not published. `consumers_wait_days`: how long snapshots wait for
    models that have not read them yet. `memory_mb`: of DuckDB while files are rewritten. `min_files`: small files of a
    partition that are worth rewriting.
    """

    schedule: str = "0 3 * * *"
    orphan_age_hours: int = Field(default=72, ge=1)
    audits_kept_days: int = Field(default=7, ge=1)
    consumers_wait_days: int = Field(default=30, ge=0)
    memory_mb: int = Field(default=600, ge=100)
    min_files: int = Field(default=5, ge=2)


class Automation(_Section):
    """What starts by itself besides the nightly loads and upkeep.

    `enabled`: whether the sensors are switched on (one that was switched in the UI stays as it is there).
    `poll_seconds`: how often databases and APIs are asked for something new; without it they are loaded at night only.
    `days_at_once`: of days that are out of date, how many are asked for in one go, the newest first.
    """

    enabled: bool = True
    poll_seconds: int | None = Field(default=None, ge=5)
    days_at_once: int = Field(default=366, ge=1)


class Ui(_Section):
    """Where `lakehouse ui` listens.

    `warm_runs`: keep a process of 0.4 GB that runs are forked from, so that they begin at once (on Linux).
    """

    host: str = "127.0.0.1"
    port: int = Field(default=3000, ge=1, le=65535)
    warm_runs: bool = True
