"""Where merges find keys: a table to append to, and the place of every row that a key is found in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from pyiceberg.table import Table as IcebergTable

from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.commits.progress import MAIN
from lakehouse.iceberg.merge.found import Found
from lakehouse.iceberg.merge.rules import Rules
from lakehouse.iceberg.merge.source import Source
from lakehouse.iceberg.reads.sources import Sources
from lakehouse.iceberg.selection.plan import plan
from lakehouse.tables import Column, Layer, Table, TableName

DECLARED = Table(
    name=TableName(Layer.SILVER, "things"),
    domain="shop",
    description="Things",
    columns=(Column("order_id", "long"), Column("name", "string"), Column("version", "long")),
    file=Path("things.yaml"),
)
NAME = DECLARED.name


def made(lake: Lake, *columns: Column, **changed: Any) -> LakeTable:  # noqa: ANN401  (of the contract)
    return lake.create(replace(DECLARED, columns=columns or DECLARED.columns, **changed))


def opened(table: LakeTable) -> IcebergTable:
    return table._load()  # noqa: SLF001  (no door shows the metadata)


def things(ids: Sequence[int], **more: Any) -> pa.Table:  # noqa: ANN401  (columns)
    return pa.table(
        {
            "order_id": pa.array(ids, pa.int64()),
            "name": [f"thing {of}" for of in ids],
            "version": pa.array(range(len(ids)), pa.int64()),
            **more,
        }
    )


def located(
    duck: duckdb.DuckDBPyConnection,
    table: LakeTable,
    keys: pa.Table,
    *,
    sequence: str | None = None,
    only: Sequence[str] | None = None,
) -> list[tuple[Any, ...]]:
    """Where the rows with these keys are: number of the file in the order of appends, position, row of the keys."""
    state = opened(table)
    schema = state.schema()
    rules = Rules.of(NAME, schema, keys.schema, key=only or keys.column_names, sequence=sequence)
    with duck.cursor() as cursor, Source(cursor, NAME, schema, rules, keys) as source:
        touched = plan(state.metadata, state.io, MAIN, source.bounds().on(state.metadata)).touched
        found = Found(cursor, Sources(cursor, NAME, state), NAME, state, rules)
        found.look(touched)
        assert found.holds(touched) == (cursor.execute("SELECT count(*) > 0 FROM merge_found").fetchone() == (True,))
        ages = sequences(state)
        order = sorted((task.file.file_path for task in state.scan().plan_files()), key=lambda path: (ages[path], path))
        rows = cursor.execute("FROM merge_found").fetchall()
    return sorted((order.index(found.files[file].path), *rest) for file, *rest in rows)


def sequences(state: IcebergTable) -> dict[str, int]:
    head = state.current_snapshot()
    if head is None:
        return {}
    manifests = head.manifests(state.io)
    entries = [entry for of in manifests for entry in of.fetch_manifest_entry(state.io)]
    return {str(entry.data_file.file_path): entry.sequence_number or 0 for entry in entries}


def ids(*keys: int) -> pa.Table:
    return pa.table({"order_id": pa.array(keys, pa.int64())})
