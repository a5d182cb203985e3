"""Fixtures of the services' tests: servers of their own, for these tests stop and kill them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lakehouse.services import process
from lakehouse.services.postgres import EmbeddedPostgres


@pytest.fixture
def new_server() -> Iterator[Callable[[Path], EmbeddedPostgres]]:
    made: list[EmbeddedPostgres] = []

    def make(folder: Path) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(folder))
        return made[-1]

    yield make
    for server in made:
        server.remove()


@pytest.fixture
def server(tmp_path: Path, new_server: Callable[[Path], EmbeddedPostgres]) -> EmbeddedPostgres:
    return new_server(tmp_path / "postgres")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """For records of services, which are stopped with the test."""
    yield tmp_path / "services"
    for name in process.names(tmp_path / "services"):
        process.stop(tmp_path / "services", name)
