"""Spark beside our lake, on the very catalog: SQLite with a table of many turns, PostgreSQL with the whole demo."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from assets_tests.interop.readers import Readers
from bench import spark
from bench.spark_session import spark_session
from lakehouse.iceberg import Lake
from lakehouse.services.endpoints import catalog_uri
from lakehouse.settings import Settings

OpenReaders = Callable[[Settings], AbstractContextManager[Readers]]


@pytest.fixture(scope="session")
def open_readers(tmp_path_factory: pytest.TempPathFactory) -> OpenReaders:
    """open_readers(settings): our two readers and a Spark on that catalog, while the block lasts."""
    if not spark.available():
        # In CI a Spark that is not there is a failure.
        stop = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        stop("Spark is not installed: `make interop` does it, or `python -m bench.spark install`; it needs Java")

    @contextmanager
    def opened(settings: Settings) -> Iterator[Readers]:
        uri = catalog_uri(settings).get_secret_value()
        folder: Path = tmp_path_factory.mktemp("spark")
        with spark_session(uri, settings.warehouse, settings.catalog.name, memory_mb=1024) as session:
            yield Readers(settings, Lake.open(settings), session, folder)

    return opened
