"""The lake for the length of one question: each table is loaded once, and DuckDB is opened only if rows are read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Self

import duckdb

from lakehouse.errors import TableMissing
from lakehouse.iceberg import Lake, LakeTable, SnapshotInfo, connect
from lakehouse.settings import Settings
from lakehouse.tables import TableName
from lakehouse.tables.sql import quote


class Look:
    """Tables as they were when they were first asked for."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._tables: dict[TableName, LakeTable | None] = {}
        self._ids: dict[TableName, Mapping[int, int]] = {}

    def table(self, name: TableName) -> LakeTable:
        """A table by name. Raises TableMissing."""
        if name not in self._tables:
            try:
                self._tables[name] = self._lake.look(name)
            except TableMissing:
                self._tables[name] = None
        found = self._tables[name]
        if found is None:
            raise TableMissing(f"there is no table {name}", remedy="Materialize it first.")
        return found

    def again(self, name: TableName) -> SnapshotInfo | None:
        """What main of a table shows by now."""
        self._tables.pop(name, None)
        self._ids.pop(name, None)
        return self.head(name)

    def head(self, name: TableName) -> SnapshotInfo | None:
        """What main of a table shows; None while there is no table or nothing in it."""
        try:
            return self.table(name).snapshot()
        except TableMissing:
            return None

    def snapshot_ids(self, name: TableName) -> Mapping[int, int]:
        """The snapshots of main's history by sequence number. Raises TableMissing."""
        if name not in self._ids:
            self._ids[name] = {snapshot.sequence_number: snapshot.id for snapshot in self.table(name).snapshots()}
        return self._ids[name]


class Views:
    """Tables as views of a DuckDB that is opened when it is first asked for, and closed with the block."""

    def __init__(self, settings: Settings, look: Look) -> None:
        self._settings, self._look = settings, look
        self._connection: duckdb.DuckDBPyConnection | None = None

    def __enter__(self) -> Self:
        """The views themselves."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def of(self, names: Collection[TableName]) -> duckdb.DuckDBPyConnection:
        """A connection with these tables as main shows them, as far as there are such."""
        if self._connection is None:
            self._connection = connect(self._settings)
        for name in names:
            try:
                relation = self._look.table(name).relation_sql()
            except TableMissing:
                continue
            schema = quote(name.layer.value)
            self._connection.execute(f"create schema if not exists {schema}")
            self._connection.execute(f"create or replace view {schema}.{quote(name.table)} as from {relation}")
        return self._connection
