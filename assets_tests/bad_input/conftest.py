"""A small project of a user's own, loaded once, and what happens to it when somebody gets something wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from lakehouse.iceberg.query import run_query
from lakehouse.scaffold.project import new_project, write_project
from lakehouse.services.postgres import EmbeddedPostgres
from lakehouse.settings import load_settings

BIN = Path(sys.executable).parent
PASSWORD = "tiger-Lily-77"  # noqa: S105  (the one that must never be shown)
PATIENCE_SECONDS = 300

BRONZE = """\
apiVersion: v3.1.0
kind: DataContract
id: erp.bronze.things
version: 1.0.0
status: active
description: {purpose: Things as they are stored.}
team: {members: [{username: erp-team@example.com, role: owner}]}
schema:
  - name: things
    properties:
      - {name: thing_id, logicalType: integer, primaryKey: true, required: true, description: Number of the thing}
      - {name: name, logicalType: string, description: What it is called}
      - {name: updated_at, logicalType: timestamp, description: When the row last changed}
customProperties:
  - {property: load, value: {source: erp, table: public.things, watermark: updated_at}}
"""
SILVER = BRONZE.replace("bronze", "silver").partition("customProperties")[0]
MODEL = "select thing_id, name, updated_at\nfrom {{ source('bronze', 'things') }}\n"


@dataclass(frozen=True)
class Project:
    """A project folder, the state it uses, and its commands."""

    folder: Path
    state: Path

    @property
    def bronze(self) -> Path:
        return self.folder / "defs" / "erp" / "bronze" / "things.yaml"

    @property
    def silver(self) -> Path:
        return self.folder / "defs" / "erp" / "silver" / "things.yaml"

    @property
    def model(self) -> Path:
        return self.folder / "dbt" / "models" / "erp" / "silver" / "things.sql"

    def environment(self, **variables: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAKEHOUSE_", "DAGSTER_"))}
        # What does not answer is said at once.
        own = {
            "LAKEHOUSE_PROJECT": str(self.folder),
            "LAKEHOUSE_STATE": str(self.state),
            "LAKEHOUSE_LOADS__RETRY_SECONDS": "0",
        }
        return {**kept, **own, "LAKEHOUSE_CATALOG__URI": f"sqlite:///{self.state}/catalog.db", **variables}

    def run(
        self, *arguments: str, before: Sequence[str] = (), program: str = "lakehouse", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """A command of the project; `before` is put in front of it, `variables` change its environment."""
        return subprocess.run(
            [*before, str(BIN / program), *arguments],
            env=self.environment(**variables),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def things(self) -> list[str]:
        """What silver.things holds: the earlier state that every mistake must leave usable."""
        settings = load_settings(
            self.folder, state=str(self.state), catalog={"uri": f"sqlite:///{self.state}/catalog.db"}
        )
        names = run_query(settings, "select name from silver.things order by thing_id")["name"].to_pylist()
        return [str(name) for name in names]


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres) -> Iterator[Project]:
    """The project with its two tables loaded, from a database that asks for a password."""
    base = tmp_path_factory.mktemp("bad_input")
    project = Project(base / "erp", base / "state")
    project.state.mkdir()
    write_project(new_project(project.folder))
    for path, text in ((project.bronze, BRONZE), (project.silver, SILVER), (project.model, MODEL)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    address = _guarded(postgres)
    with (project.folder / "pyproject.toml").open("a") as file:
        file.write(f'\n[tool.lakehouse.sources.erp]\nkind = "postgres"\nurl = "{address}"\n')
    try:
        made = project.run("run", "bronze.things", "silver.things")
        assert made.returncode == 0, made.stderr
        yield project
    finally:
        project.run("service", "down")


@pytest.fixture
def project(loaded: Project, tmp_path: Path) -> Project:
    """A copy of the project's files, to make mistakes in, over the same state."""
    copy = Project(tmp_path / "copy", loaded.state)
    shutil.copytree(loaded.folder, copy.folder, ignore=shutil.ignore_patterns("_generated"))
    return copy


@pytest.fixture
def url_with(loaded: Project) -> Callable[[str], str]:
    """The source's address with another password."""
    url = load_settings(loaded.folder, state=str(loaded.state)).model_dump()["sources"]["erp"]["url"].get_secret_value()
    return lambda password: str(url).replace(PASSWORD, password)


def _guarded(postgres: EmbeddedPostgres) -> str:
    """A database `erp` with a table, which asks for the password of its user `erp`."""
    with psycopg.connect(postgres.uri("erp").get_secret_value(), autocommit=True) as connection:
        connection.execute("create table things (thing_id bigint primary key, name text, updated_at timestamptz)")
        connection.execute("insert into things values (1, 'anvil', '2026-01-01'), (2, 'bell', '2026-01-02')")
        connection.execute(f"create role erp login password '{PASSWORD}'")
        connection.execute("grant select on things to erp")
        found = connection.execute("show hba_file").fetchone()
        assert found is not None
        rules = Path(found[0])
        rules.write_text(f"local erp erp scram-sha-256\n{rules.read_text()}")
        connection.execute("select pg_reload_conf()")
        folder = connection.execute("show unix_socket_directories").fetchone()
        assert folder is not None
    path = str(folder[0]).strip('"')
    return f"postgresql://erp:{PASSWORD}@/erp?host={path}"
