"""Fixtures that every area of the tests shares: real services in temporary folders, never a mock."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from lakehouse.services.postgres import EmbeddedPostgres
from lakehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    from pydantic import SecretStr

    from lakehouse.iceberg import Lake

# Examples may take as long as a busy machine makes them take.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    server.ensure()
    yield server
    server.remove()


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> SecretStr:
    return postgres.uri(f"test_{uuid.uuid4().hex[:12]}")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    state = tmp_path / "state"
    state.mkdir()
    return load_settings(ROOT, state=str(state), catalog={"uri": f"sqlite:///{state}/catalog.db"})


@pytest.fixture
def lake(settings: Settings) -> Lake:
    from lakehouse.iceberg import Lake

    return Lake.open(settings)
