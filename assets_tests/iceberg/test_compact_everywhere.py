"""Compaction on every catalog with every storage: the same rows, the proof, and a race that it loses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date

import duckdb
import pyarrow as pa
import pytest

from lakehouse.iceberg import CompactionStep, Lake, LakeTable, Phase, connect, register
from lakehouse.settings import Settings
from lakehouse.tables import Column, PartitionField, Table

Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]
Named = Callable[[Table], Table]
D1 = date(2026, 1, 1)


@pytest.fixture
def lake(everywhere: Settings) -> Lake:
    return Lake.open(everywhere)


@pytest.fixture
def duck(everywhere: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(everywhere) as connection:
        yield connection


@pytest.fixture
def table(lake: Lake, orders: Table, named: Named) -> LakeTable:
    """Partitioned by a text besides the day: its folders have names that must be escaped."""
    columns = (*(column for column in orders.columns if not column.personal), Column("city", "string"))
    return lake.create(named(replace(orders, columns=columns, partition_by=(PartitionField("city", "identity"),))))


def test_packed_files_hold_the_same_rows_for_every_reader(
    lake: Lake, table: LakeTable, duck: duckdb.DuckDBPyConnection, rows: Rows, ids: Ids
) -> None:
    cities = ["São Paulo/50 % +1", "a=b?c*[d]", None]
    for number in range(1, 5):
        content = rows(range(10 * number, 10 * number + 3), D1).drop_columns("email")
        table.append(
            content.append_column("city", pa.array(cities)), run_key=f"{number}", progress={"s": {"w": number}}
        )
    before = table.scan().read_all().sort_by("order_id")
    by_partition: dict[str, list[str]] = {}
    for file in table.live_files():
        by_partition.setdefault(file.partition, []).append(file.path)
    victim = by_partition.pop(next(of for of in by_partition if "Paulo" in of))

    def race(step: CompactionStep) -> None:
        if (step.phase, step.group) == (Phase.PROVED, 3):
            table.delete("order_id = 10", run_key="late")

    done = table.compact([*by_partition.values(), victim], connection=duck, progress=race)
    assert (done.groups, done.overtaken, done.files_before, done.files_after) == (2, 1, 8, 2)
    assert table.progress("s") == {"w": 4}
    assert json.loads(table.snapshots()[0].summary["lakehouse.proof"])["hash"] == done.row_hash
    after = table.scan().read_all().sort_by("order_id")
    assert after.equals(before.slice(1))
    assert register(duck, lake, tables=[table.name]) >= 1
    asked = duck.sql(f"from silver.{table.name.table} order by order_id").to_arrow_table()
    assert asked.cast(after.schema).equals(after)
    again = table.compact([[file.path for file in table.live_files() if "Paulo" in file.partition]], connection=duck)
    assert (again.groups, len(table.live_files())) == (1, 3)
    assert ids(table) == after["order_id"].to_pylist()
