"""Merging on every catalog with every storage: both ways, a writer that is faster, and a retry of the same run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from lakehouse.iceberg import Lake, LakeTable, Way, connect
from lakehouse.settings import Settings
from lakehouse.tables import Column, Layer, PartitionField, Table, TableName

CITIES = ["São Paulo/50 % +1", "a=b?c*[d]", "Ürümqi", ""]


@pytest.fixture
def lake(everywhere: Settings) -> Lake:
    return Lake.open(everywhere)


@pytest.fixture
def duck(everywhere: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(everywhere) as connection:
        yield connection


@pytest.fixture
def table(lake: Lake, named: Callable[[Table], Table]) -> LakeTable:
    """Partitioned by a text that is in the key: its folders have names that must be escaped."""
    declared = Table(
        name=TableName(Layer.SILVER, "cities"),
        domain="shop",
        description="Cities",
        columns=(Column("city", "string"), Column("id", "long"), Column("name", "string")),
        file=Path("cities.yaml"),
        partition_by=(PartitionField("city", "identity"),),
    )
    return lake.create(named(declared))


def rows(ids: range, name: str) -> pa.Table:
    """Each id in each city."""
    keys = [(city, number) for city in CITIES for number in ids]
    return pa.table(
        {"city": [city for city, _ in keys], "id": [number for _, number in keys], "name": [name] * len(keys)}
    )


def shown(table: LakeTable, duck: duckdb.DuckDBPyConnection) -> dict[tuple[str, int], str]:
    """Names by key, as PyIceberg and DuckDB read them."""
    read = [tuple(row.values()) for row in table.scan(columns=["city", "id", "name"]).read_all().to_pylist()]
    told = duck.sql(f"select city, id, name from {table.relation_sql()}").fetchall()
    assert sorted(read) == sorted(told)
    found = {(city, number): name for city, number, name in read}
    assert len(found) == len(read)
    return found


@pytest.mark.parametrize("way", Way)
def test_a_merge_that_is_overtaken_and_run_again(
    table: LakeTable, duck: duckdb.DuckDBPyConnection, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.append(rows(range(6), "old"), run_key="a")
    commit, attempts = IcebergTable._do_commit, []  # noqa: SLF001  (every catalog's commits pass there)

    def overtaken(iceberg: IcebergTable, *given: object) -> object:
        attempts.append(given)
        if len(attempts) == 1:
            table.merge(rows(range(5, 8), "theirs"), key=["city", "id"], connection=duck, run_key="b")
        return commit(iceberg, *given)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(IcebergTable, "_do_commit", overtaken)
    given = rows(range(4, 6), "ours").append_column("gone", [[number == 4 for _ in CITIES for number in (4, 5)]])
    done = table.merge(given, key=["city", "id"], deleted="gone", connection=duck, way=way, run_key="c")
    monkeypatch.undo()
    expected = dict.fromkeys(range(4), "old") | {5: "ours", 6: "theirs", 7: "theirs"}
    assert shown(table, duck) == {(city, number): name for city in CITIES for number, name in expected.items()}
    assert (done.rows_added, done.rows_removed) == (len(CITIES), 2 * len(CITIES))
    summary = json.loads(table.snapshots()[0].summary["lakehouse.merge"])
    assert (summary["rounds"], summary["updated"], summary["deleted"]) == (2, len(CITIES), len(CITIES))
    again = table.merge(given, key=["city", "id"], deleted="gone", connection=duck, way=way, run_key="c")
    assert (again.already_done, again.snapshot_id) == (True, done.snapshot_id)
