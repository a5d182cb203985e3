"""The demo, run once as people run it: a process of its own, over a state folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from lakehouse.services.servers import S3_KINDS, ServerKind
from lakehouse.settings import PostgresSource, Profile, Settings, load_settings

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("lakehouse")
# Half the demo's size: the smallest at which more than 200 customers change between two loads.
HALF = ("--scale", "0.5")
# All comes from the shop's seed: where tables are stored shows as well with few rows, in two of the three loads.
SMALL = ("--scale", "0.05", "--days", "12")
PATIENCE_SECONDS = 900


@dataclass(frozen=True)
class Demo:
    """A state folder with a demo in it, and how its command ended."""

    state: Path
    result: subprocess.CompletedProcess[str]
    profile: Profile = Profile.EMBEDDED

    @property
    def settings(self) -> Settings:
        return load_settings(ROOT, state=str(self.state), profile=self.profile)

    @property
    def lake(self) -> Lake:
        return Lake.open(self.settings)

    def run(self, *arguments: str, project: Path = ROOT) -> subprocess.CompletedProcess[str]:
        return run(self.state, *arguments, project=project, profile=self.profile)

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


def environment(state: Path, project: Path, profile: Profile = Profile.EMBEDDED) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAKEHOUSE_", "DAGSTER_"))}
    ours = {"LAKEHOUSE_STATE": str(state), "LAKEHOUSE_PROJECT": str(project), "LAKEHOUSE_PROFILE": profile.value}
    return {**kept, **ours}


def run(
    state: Path, *arguments: str, project: Path, profile: Profile = Profile.EMBEDDED
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        env=environment(state, project, profile),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def made(state: Path, profile: Profile, size: Sequence[str], *before: str) -> Iterator[Demo]:
    """A demo, after another command where one is given; at the end its services are stopped."""
    try:
        if before:
            started = run(state, *before, project=ROOT, profile=profile)
            assert started.returncode == 0, started.stderr
        yield Demo(state, run(state, "demo", *size, "--json", project=ROOT, profile=profile), profile)
    finally:
        run(state, "service", "down", "--remove", project=ROOT, profile=profile)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    yield from made(tmp_path_factory.mktemp("demo"), Profile.EMBEDDED, HALF)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A small demo of the embedded profile, to compare with."""
    yield from made(tmp_path_factory.mktemp("small"), Profile.EMBEDDED, SMALL)


@pytest.fixture(
    scope="module", params=[pytest.param(kind, id=kind.value, marks=pytest.mark.services) for kind in S3_KINDS]
)
def local(
    request: pytest.FixtureRequest, program: Callable[[ServerKind], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Demo]:
    """The same small demo of profile local, on one S3 server after the other."""
    program(request.param)
    state = tmp_path_factory.mktemp("local")
    yield from made(state, Profile.LOCAL, SMALL, "service", "up", "--s3", request.param.value)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project's contracts, models and settings in another folder, to be changed there."""
    folder = tmp_path / "copy"
    shutil.copytree(ROOT / "lakehouse" / "defs", folder / "lakehouse" / "defs")
    shutil.copytree(ROOT / "dbt", folder / "dbt", ignore=shutil.ignore_patterns("_generated"))
    shutil.copy(ROOT / "pyproject.toml", folder / "pyproject.toml")
    return folder
