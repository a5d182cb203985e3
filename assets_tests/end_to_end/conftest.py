"""The demo, run once as people run it: a process of its own, over a state folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from psycopg import Connection

from lakehouse.iceberg import Lake, connect, register
from lakehouse.services.endpoints import postgres_url
from lakehouse.settings import PostgresSource, Settings, load_settings

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("lakehouse")
# Half the demo's size: the smallest at which more than 200 customers change between two loads.
SCALE = "0.5"
PATIENCE_SECONDS = 900


@dataclass(frozen=True)
class Demo:
    """A state folder with a demo in it, and how its command ended."""

    state: Path
    result: subprocess.CompletedProcess[str]

    @property
    def settings(self) -> Settings:
        return load_settings(ROOT, state=str(self.state))

    @property
    def lake(self) -> Lake:
        return Lake.open(self.settings)

    def run(self, *arguments: str, project: Path = ROOT) -> subprocess.CompletedProcess[str]:
        return run(self.state, *arguments, project=project)

    @contextmanager
    def shop(self) -> Iterator[Connection[tuple[Any, ...]]]:
        """The shop's own database, where the truth is."""
        source = self.settings.sources["shop"]
        assert isinstance(source, PostgresSource)
        address = postgres_url(self.settings, source.url).get_secret_value()
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("set time zone 'UTC'")
            yield connection

    def truth(self, sql: str) -> list[tuple[Any, ...]]:
        with self.shop() as connection:
            return connection.execute(sql).fetchall()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.duck() as connection:
            return connection.execute(sql).fetchall()

    @contextmanager
    def duck(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with connect(self.settings) as connection:
            register(connection, self.lake)
            yield connection


def environment(state: Path, project: Path) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAKEHOUSE_", "DAGSTER_"))}
    return {**kept, "LAKEHOUSE_STATE": str(state), "LAKEHOUSE_PROJECT": str(project)}


def run(state: Path, *arguments: str, project: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        env=environment(state, project),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    state = tmp_path_factory.mktemp("demo")
    try:
        yield Demo(state, run(state, "demo", "--scale", SCALE, "--json", project=ROOT))
    finally:
        run(state, "service", "down", "--remove", project=ROOT)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project's contracts, models and settings in another folder, to be changed there."""
    folder = tmp_path / "copy"
    shutil.copytree(ROOT / "lakehouse" / "defs", folder / "lakehouse" / "defs")
    shutil.copytree(ROOT / "dbt", folder / "dbt", ignore=shutil.ignore_patterns("_generated"))
    shutil.copy(ROOT / "pyproject.toml", folder / "pyproject.toml")
    return folder
