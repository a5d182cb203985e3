"""A model that enters its table by key, over a table of events, built by plain SQL as a run builds it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from lakehouse.iceberg import Commit, Lake, connect, register
from lakehouse.settings import Settings
from lakehouse.storage.open import open_store
from lakehouse.tables import Column, MergePolicy, Strategy, Table, TableName
from lakehouse.transform.write import write_model

Row = tuple[object, ...]


def table(name: str, columns: str, **more: Any) -> Table:  # noqa: ANN401  (any field of a Table)
    """A table with columns like `thing long!, kind string`; the mark stands for required."""
    told = [column.split() for column in columns.split(", ")]
    declared = tuple(Column(of, kind.rstrip("!"), required=kind.endswith("!")) for of, kind in told)
    return Table(TableName.parse(name), "test", "", declared, Path(f"{name}.yaml"), **more)


EVENTS = table("silver.events", "thing long!, kind string, tick long!, gone boolean")
KINDS = table("silver.kinds", "kind string, factor long")
THINGS = table(
    "gold.things",
    "thing long!, kind string, worth long",
    primary_key=("thing",),
    strategy=Strategy.MERGE,
    merge=MergePolicy(("thing",), deleted="gone"),
)


def in_changes(table: str, *columns: str) -> str:
    """What the macro of that name leaves in a model's SQL."""
    names = ", ".join(column.split(".")[-1] for column in columns)
    return f'"changes of {table} by {names}"({", ".join(columns)})'


LATEST = """
    select thing, kind, tick as worth, gone from silver.events where {changed}
    qualify row_number() over (partition by thing order by tick desc) = 1"""
SQL = LATEST.format(changed=in_changes("silver.events", "thing"))
JOINED = f"""
    with latest as ({LATEST.format(changed="true")})
    select thing, kind, worth * coalesce(factor, 1) as worth, gone from latest left join silver.kinds using (kind)
    where {in_changes("silver.events", "thing")} or {in_changes("silver.kinds", "kind")}"""
"""The latest event of each thing; with the factor of its kind, of which there is one or none."""


@dataclass
class World:
    """A lake with events and kinds, and the model's table."""

    settings: Settings
    lake: Lake
    duck: duckdb.DuckDBPyConnection
    declared: Table = THINGS
    sql: str = SQL
    keys: count[int] = field(default_factory=count)

    def happen(self, *events: Row) -> Commit:
        """Append events: thing, kind, tick, gone."""
        return self.append(EVENTS, events)

    def append(self, of: Table, rows: Sequence[Row]) -> Commit:
        return self.lake.create(of).append(self._rows(of, rows), run_key=f"load {next(self.keys)}")

    def put(self, of: Table, rows: Sequence[Row]) -> Commit:
        """These rows are all of the table from now on."""
        return self.lake.create(of).overwrite(self._rows(of, rows), where=None, run_key=f"load {next(self.keys)}")

    def look(self, branch: str = "main") -> None:
        """See the lake as it is now, as dbt does when it begins."""
        register(self.duck, self.lake, at=branch)

    def build(self, *, look: bool = True, branch: str = "main", key: str | None = None) -> Commit:
        if look:
            self.look(branch)
        key = key or f"build {next(self.keys)}"
        return write_model(self.lake, self.duck, self.declared, self.sql, window=None, branch=branch, run_key=key)

    def came(self, branch: str = "main") -> int:
        """How many rows the newest commit's SQL yielded."""
        summary = self.lake.table(self.declared.name).snapshots(branch)[0].summary
        return int(json.loads(summary["lakehouse.merge"])["rows"])

    def rows(self, branch: str = "main") -> list[Row]:
        read = self.lake.table(self.declared.name).scan(at=branch).read_all().to_pylist()
        return sorted((tuple(row.values()) for row in read), key=str)

    def wanted(self) -> list[Row]:
        """What the table would be, were it computed as a whole now."""
        self.look()
        whole = self.sql.replace(in_changes("silver.events", "thing"), "true")
        whole = whole.replace(in_changes("silver.kinds", "kind"), "true")
        columns = ", ".join(column.name for column in self.declared.stored_columns)
        found = self.duck.execute(f"select {columns} from ({whole}) where not coalesce(gone, false)").fetchall()
        return sorted(found, key=str)

    def head(self, of: Table | None = None) -> int:
        found = self.lake.table((of or self.declared).name).snapshot()
        assert found is not None
        return found.id

    def compact(self, of: Table) -> None:
        stored = self.lake.table(of.name)
        with connect(self.settings) as connection:
            stored.compact([[file.path for file in stored.live_files()]], connection=connection)

    def expire(self, of: Table) -> None:
        store = open_store(self.settings, self.settings.warehouse)
        self.lake.table(of.name).expire_snapshots(store, now=datetime.now(UTC) + timedelta(days=30))

    def _rows(self, of: Table, rows: Sequence[Row]) -> pa.RecordBatchReader:
        stored = self.lake.create(of)
        names = stored.schema().names
        return pa.Table.from_pylist(
            [dict(zip(names, row, strict=True)) for row in rows], schema=stored.schema()
        ).to_reader()
