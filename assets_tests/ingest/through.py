"""Rows through the door, and what has become of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pyarrow as pa

from lakehouse.ingest import Split, split
from lakehouse.sources import Broken, Chunk
from lakehouse.tables import Table

AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def through(table: Table, rows: pa.Table, broken: tuple[Broken, ...] = ()) -> Split:
    sources = pa.chunked_array([[f"file:{number}" for number in range(1, rows.num_rows + 1)]], pa.string())
    return split(table, Chunk(rows, sources, broken), AT, "run-1")


def accepted_values(made: Split, name: str) -> list[object]:
    return list(made.accepted.column(name).to_pylist())


def rules_of(made: Split) -> dict[str, list[str]]:
    """Broken rules by coordinate."""
    return {row["source"]: json.loads(row["broken_rules"]) for row in made.rejected.to_pylist()}
