"""A table that changes are merged into by key and sequence, and what it remembers of deleted keys."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.table import Table as IcebergTable

from lakehouse.iceberg import Commit, Lake, LakeTable
from lakehouse.tables import Column, Layer, Table, TableName

NAME = TableName(Layer.SILVER, "things")
THINGS = Table(
    name=NAME,
    domain="shop",
    description="Things",
    columns=(Column("id", "long"), Column("name", "string"), Column("version", "long")),
    file=Path("things.yaml"),
)
BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
TOMBSTONES = "lakehouse.tombstones"

Change = tuple[int, int, str | None]
"""Key, sequence, and the name of then; None: deleted."""
_runs = count()


@dataclass(frozen=True)
class Things:
    """The table, and DuckDB to merge with."""

    lake: Lake
    table: LakeTable
    duck: duckdb.DuckDBPyConnection

    @classmethod
    def made(cls, lake: Lake, duck: duckdb.DuckDBPyConnection, table: Table = THINGS) -> Things:
        return cls(lake, lake.create(table), duck)

    def merge(self, *changes: Change, day: float = 0, **given: Any) -> Commit:  # noqa: ANN401  (passed on)
        """Merge changes by key, some days after the beginning."""
        rows = pa.table(
            {
                "id": pa.array([change[0] for change in changes], pa.int64()),
                "version": pa.array([change[1] for change in changes], pa.int64()),
                "name": pa.array([change[2] for change in changes], pa.string()),
                "gone": pa.array([change[2] is None for change in changes], pa.bool_()),
            }
        )
        asked = {"key": ["id"], "sequence": "version", "deleted": "gone", "run_key": f"merge {next(_runs)}", **given}
        issued_at = BEGIN + timedelta(days=day)
        return self.table.merge(rows, connection=self.duck, **{"issued_at": issued_at, **asked})

    def rows(self, at: str = "main") -> dict[int, tuple[int, str | None]]:
        """Sequence and name by key, as PyIceberg reads the table; no key is there twice."""
        rows = self.table.scan(at=at).read_all().to_pylist()
        found = {row["id"]: (row["version"], row["name"]) for row in rows}
        assert len(found) == len(rows)
        return found

    def told(self, counts: str) -> int:
        """A count of the newest merge on main."""
        return int(json.loads(self.table.snapshots()[0].summary["lakehouse.merge"])[counts])

    def file(self, at: str = "main") -> str | None:
        """Where the deleted keys of a branch are."""
        summaries = (snapshot.summary for snapshot in self.table.snapshots(at))
        floor = self.opened().properties.get(TOMBSTONES, "{}")
        told = next((summary[TOMBSTONES] for summary in summaries if TOMBSTONES in summary), floor)
        path = json.loads(told).get("path")
        return None if path is None else str(path).removeprefix("file://")

    def remembered(self, at: str = "main") -> dict[int, int]:
        """The sequences of deleted keys, as any reader of Parquet finds them."""
        file = self.file(at)
        rows = [] if file is None else pq.read_table(file).to_pylist()
        return {row["key_1"]: row["sequence"] for row in rows}

    def opened(self) -> IcebergTable:
        """The table as stock PyIceberg shows it."""
        return self.table._load()  # noqa: SLF001  (no door shows the metadata)


def appended(number: int) -> pa.Table:
    """A row to append."""
    return pa.table({"id": [number], "name": ["appended"], "version": pa.array([1], pa.int64())})
