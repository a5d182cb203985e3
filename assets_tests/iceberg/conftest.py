"""A table to write to, rows for it, and the lake on each kind of catalog and storage.

`any_settings` is a folder with either SQL catalog, for what storage and server cannot change. `everywhere` is the
matrix {SQLite, PostgreSQL, REST} x {folder, moto, MinIO, VersityGW}. What catalogs differ in (the matrix, opening,
many processes) runs on PostgreSQL in `make test` too; what SQLite has shown already, only in `make test-services`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pydantic import SecretStr
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.foreign_deletes import hide
from lakehouse.iceberg import Lake, LakeTable, arrow_schema, connect
from lakehouse.services.buckets import make_buckets
from lakehouse.services.postgres import EmbeddedPostgres
from lakehouse.services.servers import ServerKind, rest_catalog_spec, s3_spec
from lakehouse.services.status import ServiceSpec, Status
from lakehouse.settings import S3, Catalog, Settings
from lakehouse.storage import Store
from lakehouse.storage.open import open_store
from lakehouse.tables import Column, Layer, Table, TableName

COLUMNS = (
    Column("order_id", "long", required=True, description="The shop's number of the order"),
    Column("order_date", "date", required=True),
    Column("amount", "decimal(12, 2)"),
    Column("paid_at", "timestamptz"),
    Column("email", "string", personal=True),
)

DAY = date(2026, 1, 1)
BUCKET = "lake"
KEYS = {"access_key": SecretStr("lake"), "secret_key": SecretStr("lake-secret")}

QUICK = [("sqlite", "folder"), ("postgres", "folder"), ("sqlite", "moto")]
MATRIX = [
    pytest.param(
        (catalog, storage),
        id=f"{catalog}-{storage}",
        marks=() if (catalog, storage) in QUICK else pytest.mark.services,
    )
    for catalog in ("sqlite", "postgres", "rest")
    for storage in ("folder", "moto", "minio", "versitygw")
]


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
        return sorted(table.scan(columns=["order_id"], at=branch).read_all()["order_id"].to_pylist())

    return read


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def any_settings(request: pytest.FixtureRequest, place: Callable[[str, str], Settings]) -> Settings:
    """The settings on a SQLite and on a PostgreSQL catalog (one database, a catalog in it for each test)."""
    return place(request.param, "folder")


@pytest.fixture
def foreign(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Callable[[TableName], IcebergTable]]:
    """foreign(name): the table as another program opens it: plain PyIceberg, on the catalog that the test is on."""
    # Asked for here, `any_settings` would run every such test on PostgreSQL, those too that catalogs cannot change.
    chosen = request.getfixturevalue("any_settings") if "any_settings" in request.fixturenames else settings
    uri = chosen.catalog.uri.get_secret_value()
    catalog = SqlCatalog(chosen.catalog.name, uri=uri, warehouse=chosen.warehouse)
    yield lambda name: catalog.load_table(name.key)
    catalog.engine.dispose()


@pytest.fixture(name="hide")
def hide_a_row() -> Callable[..., None]:
    """hide(table, position): another program deletes a row (`foreign_deletes.hide`)."""
    return hide


@pytest.fixture
def plain(orders: Table) -> Table:
    """silver.orders without personal columns: DuckDB may write it."""
    return replace(orders, columns=tuple(column for column in orders.columns if not column.personal))


@pytest.fixture
def duck(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(settings) as connection:
        yield connection


@pytest.fixture
def store(settings: Settings) -> Store:
    """The warehouse."""
    return open_store(settings, settings.warehouse)


@pytest.fixture
def any_lake(any_settings: Settings) -> Lake:
    return Lake.open(any_settings)


@pytest.fixture
def day() -> Callable[[int], date]:
    """day(2) is 2026-01-02."""
    return lambda number: date(2026, 1, number)


@pytest.fixture(scope="session")
def s3_of(
    request: pytest.FixtureRequest,
    program: Callable[[ServerKind], Path],
    start_server: Callable[[ServiceSpec], Status],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], S3]:
    """s3_of("minio"): such a server with the bucket `lake`, started once; "moto" is the mock that all tests share."""

    @cache
    def start(kind: str) -> S3:
        if kind == "moto":
            return request.getfixturevalue("s3")  # type: ignore[no-any-return]  # pytest does not know
        data = tmp_path_factory.mktemp("objects")
        spec = s3_spec(ServerKind(kind), program(ServerKind(kind)), data, **KEYS)
        server = S3(endpoint=f"http://127.0.0.1:{start_server(spec).port}", **KEYS)
        make_buckets(server, [BUCKET])
        return server

    return start


@pytest.fixture(scope="session")
def rest_of(
    s3_of: Callable[[str], S3],
    program: Callable[[ServerKind], Path],
    start_server: Callable[[ServiceSpec], Status],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], tuple[str, str]]:
    """rest_of("minio"): the address and the warehouse of a REST catalog over such storage, started once."""

    @cache
    def start(storage: str) -> tuple[str, str]:
        home = tmp_path_factory.mktemp("rest")
        s3 = None if storage == "folder" else s3_of(storage)
        warehouse = home.as_uri() if s3 is None else f"s3://{BUCKET}/rest"
        spec = rest_catalog_spec(program(ServerKind.REST_CATALOG), home / "catalog.db", warehouse, s3=s3)
        return f"http://127.0.0.1:{start_server(spec).port}", warehouse

    return start


@pytest.fixture
def place(
    request: pytest.FixtureRequest,
    settings: Settings,
    s3_of: Callable[[str], S3],
    rest_of: Callable[[str], tuple[str, str]],
) -> Callable[[str, str], Settings]:
    """place(catalog, storage): settings of a lake there."""

    def make(catalog: str, storage: str) -> Settings:
        s3 = settings.s3 if storage == "folder" else s3_of(storage)
        warehouse = settings.warehouse if storage == "folder" else f"s3://{BUCKET}/{uuid.uuid4().hex}"
        chosen = settings.catalog
        if catalog == "postgres":
            server: EmbeddedPostgres = request.getfixturevalue("postgres")
            chosen = Catalog(name=uuid.uuid4().hex, uri=server.uri("iceberg", driver="postgresql+psycopg"))
        elif catalog == "rest":
            uri, warehouse = rest_of(storage)
            chosen = Catalog(uri=SecretStr(uri))
        return settings.model_copy(update={"warehouse": warehouse, "catalog": chosen, "s3": s3})

    return make


@pytest.fixture(params=MATRIX)
def everywhere(request: pytest.FixtureRequest, place: Callable[[str, str], Settings]) -> Settings:
    """The settings on each catalog with each storage."""
    return place(*request.param)


@pytest.fixture
def named() -> Callable[[Table], Table]:
    """named(table): the same under a name that no other test uses, for catalogs that tests share."""
    return lambda table: replace(table, name=TableName(table.name.layer, f"{table.name.table}_{uuid.uuid4().hex[:8]}"))
