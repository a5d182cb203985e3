"""A shop with a lake over it that is put back as it was after every defect: state folder, database, API, models.

What goes wrong in it is `defect.py` and the modules beside; what a run found is `verdict.py`.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import psycopg
from pydantic import SecretStr

from lakehouse.contracts import read_tables
from lakehouse.demo import Scale, Shop
from lakehouse.demo.api import Answer, RatesServer
from lakehouse.demo.calendar import day_of
from lakehouse.errors import LakehouseError
from lakehouse.iceberg import Lake, connect, register
from lakehouse.ingest import LoadResult, attempt_load
from lakehouse.quality.gate import Gate
from lakehouse.services.postgres import EmbeddedPostgres
from lakehouse.settings import Settings, load_settings
from lakehouse.storage import FolderStore
from lakehouse.tables import Layer, TableName, Window
from lakehouse.transform.events import TestFinished
from lakehouse.transform.folders import work_folder
from lakehouse.transform.rounds import Rounds

ROOT = Path(__file__).parents[2]
STAGING = ("customers", "exchange_rates", "order_items", "orders", "payments", "products")
Row = dict[str, Any]


class Rates(RatesServer):
    """The rates API, in a thread; `spoil` may change what it answers."""

    def __init__(self, database: SecretStr) -> None:
        super().__init__(database)
        self.spoil: Callable[[list[Row]], list[Row]] = list
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def answer(self, path: str, query: Mapping[str, list[str]]) -> Answer:
        status, body, headers = super().answer(path, query)
        rates = body.get("rates")
        return status, {**body, "rates": self.spoil(rates)} if isinstance(rates, list) else body, headers


class Run:
    """What one load of all sources, and the build after it, found and published."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.loads: dict[TableName, LoadResult] = {}
        self.refused: dict[TableName, LakehouseError] = {}
        self.held: dict[TableName, str] = {}
        self.published: set[TableName] = set()
        self.built = False


class World:
    """A project of its own in `folder`, with the shop's contracts and models, on a database of `postgres`."""

    def __init__(self, folder: Path, postgres: EmbeddedPostgres, *, seed: int, scale: float, name: str) -> None:
        self._postgres, self._name, self._aside = postgres, name, folder / "aside"
        self._project, self.state = folder / "project", folder / "state"
        copy_project(self._project)
        self.state.mkdir(parents=True)
        self._url = postgres.uri(name)
        self.landing = self.state / "landing"
        self.api = Rates(self._url)
        self.shop = Shop(self._url, FolderStore(self.landing), seed, Scale().times(scale))
        self._models: dict[Path, str] = {}
        self._runs = 0

    @property
    def settings(self) -> Settings:
        sources = {
            "shop": {"kind": "postgres", "url": self._url.get_secret_value()},
            "landing": {"kind": "files", "root": str(self.landing), "settle": 0},
            "rates": {"kind": "http", "base_url": f"http://127.0.0.1:{self.api.port}"},
        }
        catalog = {"uri": f"sqlite:///{self.state}/catalog.db"}
        return load_settings(self._project, state=str(self.state), catalog=catalog, sources=sources)

    def close(self) -> None:
        self.api.shutdown()
        self.api.server_close()

    def begin(self, *, seed: int, scale: float) -> None:
        """Another shop, of which nothing is loaded yet; the models stay parsed."""
        for path in self.state.iterdir():
            if path != work_folder(self.settings):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._remake(self._name, template="template0")
        self.shop = Shop(self._url, FolderStore(self.landing), seed, Scale().times(scale))
        self.shop.create()

    def keep(self) -> None:
        """From now on, this is what `restore` goes back to."""
        shutil.copytree(self.state, self._aside)
        self._remake(f"{self._name}_kept", template=self._name)

    def restore(self) -> None:
        """Everything as it was when it was kept."""
        shutil.rmtree(self.state)
        shutil.copytree(self._aside, self.state)
        self._remake(self._name, template=f"{self._name}_kept")
        self.api.spoil = list
        for file, text in self._models.items():
            file.write_text(text, encoding="utf-8")
        self._models.clear()

    def sql(self, *statements: str) -> None:
        """Do something to the shop's database that its own constraints would not allow."""
        with psycopg.connect(self._url.get_secret_value(), autocommit=True) as connection:
            connection.execute("SET TIME ZONE 'UTC'")
            for statement in statements:
                connection.execute(statement.encode())

    def drop_constraints(self, *tables: str) -> None:
        """The database forgets what it promised."""
        with psycopg.connect(self._url.get_secret_value(), autocommit=True) as connection:
            query = "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype IN ('p', 'c', 'f')"
            rows = [row for row in connection.execute(query).fetchall() if row[0] in tables]
            for table, constraint in rows:
                connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {constraint} CASCADE".encode())
            query = "SELECT table_name, column_name FROM information_schema.columns WHERE is_nullable = 'NO'"
            for table, column in connection.execute(query).fetchall():
                if table in tables:
                    connection.execute(f"ALTER TABLE {table} ALTER {column} DROP NOT NULL".encode())

    def file(self, number: int) -> Path:
        """The payment file of the shop's day `number`."""
        return self.landing / "payments" / f"payments-{day_of(number)}.jsonl"

    def change_model(self, name: str, old: str, new: str) -> None:
        """Somebody edits a model, `silver/payments` for example."""
        file = self._project / "dbt" / "models" / "shop" / f"{name}.sql"
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{name} is not as it was: mend the defect"
        self._models.setdefault(file, text)
        file.write_text(text.replace(old, new), encoding="utf-8")

    def run(self) -> Run:
        """Load every source; then build every model, unless a source or the gate stopped a load."""
        settings, lake = self.settings, Lake.open(self.settings)
        declarations = read_tables(settings.defs)
        run = Run(Gate(settings, lake, declarations))
        run.gate.warm()
        self._runs += 1
        for name, table in declarations.items():
            if name.layer is Layer.BRONZE:
                try:
                    run.loads[name] = attempt_load(settings, lake, table, run_id=f"run-{self._runs}", gate=run.gate)
                except LakehouseError as error:
                    run.refused[name] = error
        run.held = {name: str(load.held) for name, load in run.loads.items() if load.held is not None}
        if not run.held and not run.refused:
            self._build(run, settings, lake)
        return run

    def _build(self, run: Run, settings: Settings, lake: Lake) -> None:
        days = Window.of_days(day_of(1), day_of(self.shop.day))
        key = f"build-{self._runs}"
        rounds = Rounds(
            settings, lake, read_tables(settings.defs), branch=f"run/{key}", run_key=key, window=days, gate=run.gate
        )
        models = sorted(str(name) for name in read_tables(settings.defs) if name.layer is not Layer.BRONZE)
        for event in rounds.run([*models, *(f"staging.stg_{name}" for name in STAGING)]):
            assert not isinstance(event, TestFinished) or event.name, event
        if rounds.error is not None:
            raise rounds.error
        run.held, run.published, run.built = rounds.held, set(rounds.published), True

    def heads(self) -> dict[str, int]:
        """The snapshots of silver and gold that everybody sees."""
        lake = Lake.open(self.settings)
        found = {str(name): lake.table(name).snapshots() for name in lake.names() if name.layer in {"silver", "gold"}}
        return {name: snapshots[0].id for name, snapshots in found.items() if snapshots}

    def count(self, query: str) -> int:
        """The one number that a query of the published lake answers."""
        ((found,),) = self.rows(query)
        return int(found or 0)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query of the published lake answers."""
        with self._duck() as connection:
            return connection.execute(query).fetchall()

    def tables(self, layer: str) -> list[str]:
        """The names of a layer's tables."""
        return [name.table for name in Lake.open(self.settings).names() if name.layer == layer]

    @contextmanager
    def _duck(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with connect(self.settings) as connection:
            register(connection, Lake.open(self.settings))
            yield connection

    def _remake(self, database: str, *, template: str) -> None:
        address = self._postgres.uri("postgres").get_secret_value()
        with closing(psycopg.connect(address, autocommit=True)) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)".encode())
            connection.execute(f"CREATE DATABASE {database} TEMPLATE {template}".encode())


def copy_project(folder: Path) -> None:
    """The project's contracts, models and settings in another folder, to be changed there."""
    shutil.copytree(ROOT / "lakehouse" / "defs", folder / "lakehouse" / "defs")
    shutil.copytree(ROOT / "dbt", folder / "dbt", ignore=shutil.ignore_patterns("_generated"))
    shutil.copy(ROOT / "pyproject.toml", folder / "pyproject.toml")
