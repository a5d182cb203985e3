"""The DuckDB that rewrites files: little memory, and a folder of its own to spill to (`spill.py`).

What is asked of it does not belong here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from lakehouse.iceberg import connect
from lakehouse.settings import Settings
from lakehouse.storage.spill import spill_folder
from lakehouse.tables.sql import literal

_MB_A_THREAD = 250
"""Each thread holds a row group while it is encoded, and as much again while it is read."""


@contextmanager
def engine(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that reads and writes the lake's files within `upkeep.memory_mb`.

    It spills into the state folder: two connections must not share such a folder. Raises StateError when nothing can be
    written there, ServiceError.
    """
    threads = max(1, min(os.cpu_count() or 1, settings.upkeep.memory_mb // _MB_A_THREAD))
    with spill_folder(settings.state / "upkeep") as folder, connect(settings) as duck:
        duck.execute(f"SET memory_limit = '{settings.upkeep.memory_mb}MB'")
        duck.execute(f"SET temp_directory = {literal(str(folder))}")
        duck.execute(f"SET threads = {threads}")
        yield duck
