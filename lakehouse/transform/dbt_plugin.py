"""The plugin that dbt-duckdb loads: it hands DuckDB's connection to `iceberg/`, and compiled SQL to `write.py`.

Nothing is decided here. Imported by dbt's process only, for it imports dbt.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from dbt.adapters.base.relation import BaseRelation
from dbt.adapters.duckdb.credentials import DuckDBCredentials
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.adapters.duckdb.utils import TargetConfig
from dbt_common.exceptions import DbtRuntimeError
from duckdb import DuckDBPyConnection

from lakehouse.changes.edges import Edge
from lakehouse.contracts import Declarations, read_tables
from lakehouse.errors import LakehouseError, TransformError
from lakehouse.iceberg import Commit, Lake
from lakehouse.iceberg.duck import prepare, register
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Layer, Table, TableName, Window
from lakehouse.transform.events import error_of
from lakehouse.transform.folders import manifest_path
from lakehouse.transform.follow import edges_in
from lakehouse.transform.manifest import Manifest
from lakehouse.transform.write import MAIN, save_view, write_model


@dataclass
class Run:
    """What this process of dbt is for, and what came of its nodes, by unique id.

    `ask` has an audit made, by the unique id of its test; without it none is.
    """

    settings: Settings
    branch: str = MAIN
    run_key: str = ""
    window: Window | None = None
    ask: Callable[[str], Mapping[str, Any]] | None = None
    outcomes: dict[str, Commit | LakehouseError] = field(default_factory=dict)

    @cached_property
    def lake(self) -> Lake:
        """The lake, opened once."""
        return Lake.open(self.settings)

    @cached_property
    def declarations(self) -> Declarations:
        """The contracts, read once."""
        return read_tables(self.settings.defs)

    @cached_property
    def manifest(self) -> Manifest:
        """What was compiled before dbt was started, read once."""
        return Manifest.read(manifest_path(self.settings))

    def edges(self, table: Table) -> tuple[Edge, ...]:
        """What a table follows; nothing of one that is computed as a whole."""
        return edges_in(self.manifest, table, self.declarations) if table.follows_by_days else ()


_current: Run | None = None


def begin(run: Run) -> None:
    """Say what the process is for, before dbt starts: dbt makes the plugin itself, and runs models in threads."""
    global _current  # noqa: PLW0603  (one process is one run, and dbt offers no other way in)
    _current = run


class Plugin(BasePlugin):
    """Registered in profiles.yml under the alias `lake`."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:  # noqa: ARG002  (the base class' signature)
        """Nothing is opened yet: dbt makes plugins also where it asks nothing of them."""
        self._lock = threading.Lock()
        self._connection: DuckDBPyConnection | None = None

    @cached_property
    def _run(self) -> Run:
        """By hand (`dbt show` in the project's folder) there is no run: then the project's settings count."""
        return _current or Run(load_settings())

    def update_connection_config(self, creds: DuckDBCredentials, config: dict[str, Any]) -> None:
        """dagster-dbt opens the adapter read-only and makes the path absolute; neither is possible in memory."""
        if creds.path.endswith(":memory:"):
            creds.path = ":memory:"
            config.pop("access_mode", None)

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        """Every table of the lake as a view, at the run's branch where a table has it; then the view models."""
        self._connection = conn
        prepare(conn, self._run.settings)
        register(conn, self._run.lake, at=self._run.branch)

    def store(self, target_config: TargetConfig) -> None:
        """What the macros ask for: a table, a view or an audit. The commit or error is kept for the report."""
        ask, location = target_config.config, target_config.location
        kind = location.format if location is not None else ""
        try:
            if kind == "audit":
                ask["result"].update(broken=self._broken_rules(ask["unique_id"]))
            else:
                self._store(kind, target_config.relation, ask)
        except LakehouseError as error:
            self._run.outcomes[ask["unique_id"]] = error
            raise DbtRuntimeError(str(error)) from error

    def _broken_rules(self, unique_id: str) -> int:
        """How many blocking rules an audit found broken; none by hand, where nobody is asked."""
        answer = self._run.ask(unique_id) if self._run.ask is not None else {"error": None, "broken": 0}
        error = error_of(answer["error"])
        if error is not None:
            raise error
        return int(answer["broken"])

    def _store(self, kind: str, relation: BaseRelation, ask: dict[str, Any]) -> None:
        schema, name, sql, result = str(relation.schema), str(relation.identifier), ask["sql"], ask["result"]
        if kind == "view":
            self._view(schema, name, sql)
            result.update(message="view", rows=0)
        else:
            commit = self._write(schema, name, sql)
            self._run.outcomes[ask["unique_id"]] = commit
            result.update(message=f"{commit.operation} {commit.rows_added} rows", rows=commit.rows_added)

    def _view(self, schema: str, name: str, sql: str) -> None:
        with self._lock:
            save_view(self._run.lake, self._opened(), schema, name, sql)

    def _write(self, schema: str, name: str, sql: str) -> Commit:
        table = TableName(Layer(schema), name)
        run = self._run
        with self._lock:
            declared = run.declarations[table]
            edges = run.edges(declared)
        if not run.run_key:
            raise TransformError(
                f"{table} is to be written outside a run", remedy="Materialize it with `lakehouse` or in Dagster."
            )
        connection = self._opened()
        commit = write_model(
            run.lake,
            connection,
            declared,
            sql,
            window=run.window,
            branch=run.branch,
            run_key=run.run_key,
            edges=edges,
        )
        with self._lock, connection.cursor() as cursor:
            register(cursor, run.lake, at=run.branch, tables=[table])
        return commit

    def _opened(self) -> DuckDBPyConnection:
        if self._connection is None:
            message = "dbt stored a relation before it opened a connection"
            raise RuntimeError(message)
        return self._connection
