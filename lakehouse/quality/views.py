"""What an audit reads: views of tables, pinned to the snapshots of one moment. What is asked of them is `gate.py`."""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref

import duckdb

from lakehouse.errors import SnapshotMissing, TableMissing
from lakehouse.iceberg import MAIN, Lake, connect
from lakehouse.settings import Settings
from lakehouse.tables import TableName
from lakehouse.tables.sql import literal, quote

_MEMORY = "512MB"
"""What DuckDB may hold; more goes to disk."""
_SMALL = 50_000
"""Rows of a table that is read once and held: opening Iceberg anew for every query takes longer than the query."""
_PUBLISHED, _HELD = "published", "held"
_PINNED = re.compile(r"snapshot_from_id=(\d+)")


class Views:
    """A DuckDB of its own with a view `layer.table` of each table that was asked for."""

    def __init__(self, settings: Settings, lake: Lake) -> None:
        self._lake = lake
        self._made: dict[tuple[str, str], str] = {}
        self.connection = connect(settings)
        self.connection.execute(f"SET memory_limit = {literal(_MEMORY)}")
        # A folder of its own: two DuckDBs that spill into one would write each other's files.
        spill = tempfile.mkdtemp(prefix="lakehouse-gate-")
        weakref.finalize(self, shutil.rmtree, spill, ignore_errors=True)
        self.connection.execute(f"SET temp_directory = {literal(spill)}")

    def of(self, name: TableName, at: str) -> int | None:
        """Bring a table's view to what its branch `at` (main, where it has none) is now; the snapshot's id.

        None for a table without rows yet. Raises TableMissing, StateError, CatalogError.
        """
        return self._pin(name.key, self._lake.relation_sql(name, at))

    def has_branch(self, name: TableName, at: str) -> bool:
        """Whether the table has a branch of that name."""
        return at in self._lake.table(name).branches()

    def published(self, name: TableName) -> str:
        """Bring the view of a table as it is on main up to date; how SQL names it."""
        key = (_PUBLISHED, str(name))
        self._pin(key, self._lake.relation_sql(name, MAIN))
        return f"{quote(_PUBLISHED)}.{quote(str(name))}"

    def has(self, name: TableName, at: str) -> bool:
        """The same of a table that may be missing; whether it is there."""
        try:
            self.of(name, at)
        except (TableMissing, SnapshotMissing):
            self.connection.execute(f"DROP VIEW IF EXISTS {relation(name)}")
            self._made.pop(name.key, None)
            return False
        return True

    def _pin(self, key: tuple[str, str], relation_sql: str) -> int | None:
        if self._made.get(key) != relation_sql:
            schema, view = map(quote, key)
            for each in (schema, _HELD):
                self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {each}")
            source = self._hold(".".join(key), relation_sql) or relation_sql
            self.connection.execute(f"CREATE OR REPLACE VIEW {schema}.{view} AS FROM {source}")
            self._made[key] = relation_sql
        # Read off what is pinned: asking the catalog again could answer with a later snapshot.
        pinned = _PINNED.search(relation_sql)
        return int(pinned[1]) if pinned else None

    def _hold(self, name: str, relation_sql: str) -> str | None:
        """Copy a small table; how SQL names the copy. None for a table that is not small."""
        copy = f"{_HELD}.{quote(name)}"
        limited = f"CREATE OR REPLACE TABLE {copy} AS FROM {relation_sql} LIMIT {_SMALL + 1}"
        row = self.connection.execute(limited).fetchone()
        if row is not None and row[0] <= _SMALL:
            return copy
        self.connection.execute(f"DROP TABLE {copy}")
        return None


def relation(name: TableName) -> str:
    """How SQL names a table's view."""
    return f"{quote(name.layer.value)}.{quote(name.table)}"


def first_line(error: duckdb.Error) -> str:
    """What DuckDB says is wrong, without the lines that point into the SQL."""
    return str(error).splitlines()[0]
