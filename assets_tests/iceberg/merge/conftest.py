"""Tables to merge into, beside plain DuckDB tables that get the same statements."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.merge.twin import Twin
from lakehouse.iceberg import Lake
from lakehouse.settings import Settings
from lakehouse.tables import Column, Layer, PartitionField, Table, TableName

LAYOUTS = {
    "flat": (),
    "by day": (PartitionField("day", "day"),),
    "by bucket": (PartitionField("id", "bucket[3]"),),
}


@pytest.fixture
def twins(lake: Lake, duck: duckdb.DuckDBPyConnection) -> Callable[..., Twin]:
    """twins("by day"): an empty table of that layout, and its twin; a second one needs a name."""

    def make(layout: str, name: str = "things") -> Twin:
        declared = Table(
            name=TableName(Layer.SILVER, name),
            domain="shop",
            description="Things",
            columns=(
                Column("id", "long"),
                Column("day", "date"),
                Column("name", "string"),
                Column("amount", "decimal(12, 2)"),
                Column("version", "long"),
            ),
            file=Path("things.yaml"),
            partition_by=LAYOUTS[layout],
        )
        return Twin(lake.create(declared), duck, declared)

    return make


@pytest.fixture
def stock(settings: Settings) -> Callable[[Twin], IcebergTable]:
    """stock(twin): the table as plain PyIceberg opens it."""
    uri = settings.catalog.uri.get_secret_value()
    catalog = SqlCatalog(settings.catalog.name, uri=uri, warehouse=settings.warehouse)
    yield lambda twin: catalog.load_table(twin.table.name.key)
    catalog.engine.dispose()


@pytest.fixture
def files(settings: Settings) -> Callable[[], int]:
    """files(): how many Parquet files are in the warehouse, whether a snapshot knows them or not."""
    return lambda: len(list((settings.state / "warehouse").rglob("*.parquet")))


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """between(act, act, ...): each at one of the next commits, before the catalog sees it."""
    honest = SqlCatalog.commit_table

    def arrange(*acts: Callable[[], object]) -> None:
        left = iter(acts)

        def commit(self: SqlCatalog, *arguments: object) -> object:
            act = next(left, None)
            if act is not None:
                monkeypatch.setattr(SqlCatalog, "commit_table", honest)
                act()
                monkeypatch.setattr(SqlCatalog, "commit_table", commit)
            return honest(self, *arguments)  # type: ignore[arg-type]  # as they came

        monkeypatch.setattr(SqlCatalog, "commit_table", commit)

    return arrange
