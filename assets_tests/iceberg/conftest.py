"""A table to write to, rows for it, and the lake on each kind of catalog."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table as IcebergTable

from lakehouse.iceberg import Lake, LakeTable, arrow_schema
from lakehouse.services.postgres import EmbeddedPostgres
from lakehouse.settings import Catalog, Settings
from lakehouse.tables import Column, Layer, Table, TableName

COLUMNS = (
    Column("order_id", "long", required=True, description="The shop's number of the order"),
    Column("order_date", "date", required=True),
    Column("amount", "decimal(12, 2)"),
    Column("paid_at", "timestamptz"),
    Column("email", "string", personal=True),
)

DAY = date(2026, 1, 1)


@pytest.fixture
def orders() -> Table:
    """silver.orders, partitioned by the day of its window column."""
    return Table(
        name=TableName(Layer.SILVER, "orders"),
        domain="shop",
        description="Orders",
        columns=COLUMNS,
        file=Path("orders.yaml"),
        window_column="order_date",
        window_start=DAY,
    )


@pytest.fixture
def flat(orders: Table) -> Table:
    """The same without partitions."""
    return replace(orders, name=TableName(Layer.GOLD, "flat"), window_column=None, window_start=None)


@pytest.fixture
def rows() -> Callable[..., pa.Table]:
    """rows(ids, day): good rows for these tables; column values may be given by name."""

    def make(ids: Iterable[int], day: date = DAY, **columns: object) -> pa.Table:
        ids = list(ids)
        values: dict[str, Any] = {
            "order_id": ids,
            "order_date": [day] * len(ids),
            "amount": [Decimal(number) / 4 for number in ids],
            "paid_at": [datetime(2026, 1, 1, 12, tzinfo=UTC)] * len(ids),
            "email": [f"{number}@example.com" for number in ids],
            **columns,
        }
        return pa.table(values, schema=arrow_schema(COLUMNS))

    return make


@pytest.fixture
def ids() -> Callable[..., list[int]]:
    """ids(table): the order ids that PyIceberg reads, sorted."""

    def read(table: LakeTable, branch: str = "main") -> list[int]:
        return sorted(table.scan(columns=["order_id"], branch=branch).read_all()["order_id"].to_pylist())

    return read


@pytest.fixture(params=["sqlite", "postgres"])
def any_settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """The settings on a SQLite and on a PostgreSQL catalog (one database, a catalog in it for each test)."""
    if request.param == "sqlite":
        return settings
    postgres: EmbeddedPostgres = request.getfixturevalue("postgres")
    uri = postgres.uri("iceberg", driver="postgresql+psycopg")
    return settings.model_copy(update={"catalog": Catalog(name=uuid.uuid4().hex, uri=uri)})


@pytest.fixture
def foreign(any_settings: Settings) -> Iterator[Callable[[TableName], IcebergTable]]:
    """foreign(name): the table as another program opens it, with plain PyIceberg."""
    uri = any_settings.catalog.uri.get_secret_value()
    catalog = SqlCatalog(any_settings.catalog.name, uri=uri, warehouse=any_settings.warehouse)
    yield lambda name: catalog.load_table(name.key)
    catalog.engine.dispose()


@pytest.fixture
def any_lake(any_settings: Settings) -> Lake:
    return Lake.open(any_settings)


@pytest.fixture
def day() -> Callable[[int], date]:
    """day(2) is 2026-01-02."""
    return lambda number: date(2026, 1, number)
