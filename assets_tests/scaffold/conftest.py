from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import structlog
from click.testing import Result
from typer.testing import CliRunner

from lakehouse.cli.app import app
from lakehouse.contracts import read_tables
from lakehouse.iceberg import Lake
from lakehouse.ingest import LoadResult, load
from lakehouse.scaffold.project import new_project, write_project
from lakehouse.scaffold.survey import Request, survey
from lakehouse.scaffold.write import Plan, plan
from lakehouse.services.endpoints import stop_services
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Table
from lakehouse.telemetry import configure_logs

Propose = Callable[..., Plan]
Load = Callable[[], dict[str, LoadResult]]
Command = Callable[[Sequence[str]], Result]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """An empty project whose catalogue is a SQLite file, and which commands find. Its services end with the test."""
    folder = tmp_path / "mine"
    write_project(new_project(folder))
    state = folder / ".lakehouse"
    state.mkdir()
    monkeypatch.setenv("LAKEHOUSE_PROJECT", str(folder))
    monkeypatch.setenv("LAKEHOUSE_CATALOG__URI", f"sqlite:///{state}/catalog.db")
    settings = load_settings(folder)
    yield settings
    stop_services(settings)


@pytest.fixture
def propose(project: Settings) -> Propose:
    """Look at a source and plan its files, as the command does."""

    def proposed(source: str | Path, domain: str = "sales", **request: object) -> Plan:
        settings = load_settings(project.project)
        asked = Request(str(source), domain, **request)  # type: ignore[arg-type]  # the fields of Request by name
        return plan(settings, survey(settings, asked), owner="team:sales")

    return proposed


@pytest.fixture
def declared(project: Settings) -> Callable[[], dict[str, Table]]:
    """The project's tables by name, as they are declared now."""
    return lambda: {str(name): table for name, table in read_tables(project.defs).items()}


@pytest.fixture
def load_all(project: Settings) -> Load:
    """Load every bronze table of the project."""

    def loaded() -> dict[str, LoadResult]:
        settings = load_settings(project.project)
        lake = Lake.open(settings)
        found = read_tables(settings.defs)
        return {str(name): load(settings, lake, table, run_id="test") for name, table in found.items()}

    return loaded


@pytest.fixture
def command() -> Iterator[Command]:
    """Run `lakehouse` with arguments, its log kept out of what it prints."""
    configure_logs(json=False, level=logging.WARNING, stream=sys.__stderr__)
    yield lambda arguments: CliRunner().invoke(app, list(arguments))
    structlog.reset_defaults()
