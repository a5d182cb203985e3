"""DuckDB over the lake: a connection that can read Iceberg offline, and a view for each table.

What is asked of the connection does not belong here.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import duckdb
import structlog

from lakehouse.errors import ServiceError, SnapshotMissing
from lakehouse.iceberg.commits.progress import MAIN
from lakehouse.iceberg.lake import Lake
from lakehouse.iceberg.refs.at import At
from lakehouse.services.endpoints import s3_endpoint
from lakehouse.settings import S3, Settings
from lakehouse.storage.paths import from_uri, is_s3
from lakehouse.tables import TableName
from lakehouse.tables.sql import literal, quote

_log = structlog.get_logger(__name__)

OPTIONS: dict[str, str | bool | int | float | list[str]] = {"allow_unsigned_extensions": "true"}
"""What a connection must be opened with: to check a signature DuckDB reads all of an extension, 0.2 s for each
connection. The files come from the wheels of the lock file, whose hashes were checked when they were installed."""
_NETWORK = ("autoinstall_known_extensions", "autoload_known_extensions")


def connect(settings: Settings) -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory that reads the lake's files, in UTC. Raises ServiceError when an extension is not installed.

    Nothing is fetched from the network: the extensions come from the installed wheels.
    """
    connection = duckdb.connect(":memory:", config=OPTIONS)
    prepare(connection, settings)
    return connection


def prepare(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Make somebody else's connection (dbt's) like one of `connect`. Raises ServiceError."""
    for option in _NETWORK:
        connection.execute(f"SET {option} = false")
    on_s3 = is_s3(from_uri(settings.warehouse))
    # Iceberg loads avro by itself, from the network, unless it is there already.
    for extension in ("avro", "iceberg", *(("httpfs",) if on_s3 else ())):
        connection.execute(f"LOAD {literal(str(_extension(extension)))}")
    connection.execute("SET TimeZone = 'UTC'")
    if on_s3:
        connection.execute(_secret(s3_endpoint(settings)))


def register(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    *,
    at: At = MAIN,
    tables: Iterable[TableName] | None = None,
) -> int:
    """Make a view `layer.table` of each table (default: all), pinned to the snapshot of now; then the saved views.

    A branch or tag is read where a table has it, main elsewhere. Returns how many there are. Left out and logged are
    tables that do not remember the time asked for, and saved views that cannot be bound (their tables are not there).
    """
    names = lake.names() if tables is None else tuple(tables)
    saved = {(schema, name): sql for schema, name, sql in lake.views.all()}
    # A model that became a view leaves its old table behind; the view is what it means now.
    physical = [name for name in names if name.key not in saved]
    made = 0
    for name in physical:
        try:
            _view(connection, *name.key, f"FROM {lake.relation_sql(name, at)}")
        except SnapshotMissing as error:
            _log.warning("table left out", table=str(name), reason=str(error))
        else:
            made += 1
    return made + _saved_views(connection, saved)


def _saved_views(connection: duckdb.DuckDBPyConnection, saved: dict[tuple[str, str], str]) -> int:
    """Views may read one another: try until a round binds none."""
    left = dict(saved)
    reasons: dict[tuple[str, str], str] = {}
    while left:
        bound = []
        for key, sql in left.items():
            try:
                _view(connection, *key, sql)
                bound.append(key)
            except duckdb.Error as error:
                reasons[key] = str(error)
        if not bound:
            break
        for key in bound:
            del left[key]
    for key in left:
        _log.warning("saved view left out", view=".".join(key), reason=reasons[key])
    return len(saved) - len(left)


def _view(connection: duckdb.DuckDBPyConnection, schema: str, name: str, sql: str) -> None:
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}")
    connection.execute(f"CREATE OR REPLACE VIEW {quote(schema)}.{quote(name)} AS {sql}")


def _extension(name: str) -> Path:
    """The extension's file in its wheel."""
    wheel = find_spec(f"duckdb_extension_{name}")
    version = duckdb.__version__
    for folder in (wheel.submodule_search_locations or ()) if wheel else ():
        file = Path(folder) / "extensions" / f"v{version}" / f"{name}.duckdb_extension"
        if file.is_file():
            return file
    raise ServiceError(
        f"DuckDB's extension {name!r} is not installed",
        expected=f"the package duckdb-extension-{name} {version}",
        remedy="Install the locked requirements: `make demo` and `make test` do, or `python -m lakehouse.bootstrap`.",
    )


def _secret(s3: S3) -> str:
    """CREATE SECRET for the settings' keys, or for those that boto3's own chain finds now."""
    import boto3  # noqa: PLC0415  (half a second, which only those on S3 pay)

    if s3.access_key is not None and s3.secret_key is not None:
        key, secret, token = s3.access_key.get_secret_value(), s3.secret_key.get_secret_value(), None
    elif (found := boto3.Session().get_credentials()) is not None:
        frozen = found.get_frozen_credentials()
        key, secret, token = frozen.access_key or "", frozen.secret_key or "", frozen.token
    else:
        key, secret, token = "", "", None
    options = {"TYPE": "s3", "KEY_ID": literal(key), "SECRET": literal(secret), "REGION": literal(s3.region)}
    if token:
        options["SESSION_TOKEN"] = literal(token)
    if s3.endpoint is not None:
        scheme, _, host = s3.endpoint.rpartition("://")
        options |= {"ENDPOINT": literal(host), "URL_STYLE": "'path'", "USE_SSL": str(scheme == "https").lower()}
    return f"CREATE OR REPLACE SECRET lake ({', '.join(f'{option} {value}' for option, value in options.items())})"
