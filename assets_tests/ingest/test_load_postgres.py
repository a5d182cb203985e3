"""Loads from PostgreSQL into a real lake."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date

import psycopg
import pytest
from pydantic import SecretStr

from assets_tests.ingest.payments import QUARANTINE, rows
from lakehouse.errors import SourceChanged, SourceUnreachable
from lakehouse.iceberg import Lake, connect
from lakehouse.ingest import load
from lakehouse.settings import Settings
from lakehouse.tables import Rule, Table, Window

MakeTable = Callable[..., Table]


@pytest.fixture
def orders(make_table: MakeTable) -> Table:
    return make_table(
        {
            "order_id": "long",
            "price": "decimal(10, 2)",
            "ordered": "date",
            "updated_at": "timestamptz",
            "note": "string",
        },
        required=["order_id", "updated_at"],
        rules=[Rule("price_minimum", '"price" >= 0', column="price")],
        source="shop",
        options={"table": "orders", "watermark": "updated_at", "clock": "shop_now()"},
        window="ordered",
    )


@pytest.fixture
def shop(database: SecretStr) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        connection.execute(
            "create table orders (order_id bigint primary key, price numeric(10, 2), ordered date, note text,"
            " updated_at timestamptz not null)"
        )
        connection.execute("create table clock as select timestamptz '2026-01-01 00:00Z' as now")
        connection.execute(
            "create function shop_now() returns timestamptz language sql stable as $$ select now from clock $$"
        )
        yield connection


def test_postgresql_to_bronze_and_back_through_duckdb(
    sources: Settings, lake: Lake, orders: Table, shop: psycopg.Connection
) -> None:
    shop.execute(
        "insert into orders select g, g / 100.0, date '2026-01-01' + (g % 5)::int, 'note ' || g,"
        " timestamptz '2026-01-01 00:00Z' + g * interval '1 second' from generate_series(1, 5000) g"
    )
    shop.execute("update orders set price = -1 where order_id = 17")
    shop.execute("update clock set now = '2026-01-02 00:00Z'")
    result = load(sources, lake, orders, run_id="1")
    assert (result.rows_read, result.rows_published, result.rows_quarantined) == (5000, 4999, 1)
    assert result.windows == (Window(date(2026, 1, 1), date(2026, 1, 6)),)
    with connect(sources) as duck:
        relation = lake.table(orders.name).relation_sql()
        assert "iceberg_scan" in relation
        columns = "order_id, price, ordered, note, updated_at"
        read_back = duck.execute(f"select {columns} from {relation} order by order_id").fetchall()
    assert read_back == shop.execute(f"select {columns} from orders where order_id <> 17 order by order_id").fetchall()
    (reject,) = rows(lake, QUARANTINE)
    assert json.loads(str(reject["payload"]))["price"] == "-1.00"

    shop.execute("update orders set note = 'changed', updated_at = '2026-01-02 12:00Z' where order_id in (1, 17)")
    shop.execute("update clock set now = '2026-01-03 00:00Z'")
    second = load(sources, lake, orders, run_id="2")
    assert (second.rows_read, second.rows_published, second.rows_quarantined, second.rows_seen) == (2, 1, 1, 0)
    versions = [row["note"] for row in rows(lake, orders.name) if row["order_id"] == 1]
    assert sorted(map(str, versions)) == ["changed", "note 1"]
    assert load(sources, lake, orders, run_id="3").commit is None


def test_a_source_lost_midway_publishes_nothing_and_the_next_load_gets_all(
    sources: Settings, lake: Lake, orders: Table, shop: psycopg.Connection
) -> None:
    shop.execute(
        "insert into orders select g, 1, '2026-01-01', repeat('x', 500), '2026-01-01 00:00Z'"
        " from generate_series(1, 100000) g"
    )
    shop.execute("update clock set now = '2026-01-02 00:00Z'")

    def cut(_rows: int, _what: str) -> None:
        shop.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lakehouse'")

    with pytest.raises(SourceUnreachable):
        load(sources, lake, orders, run_id="1", on_progress=cut)
    assert lake.table(orders.name).snapshots() == ()
    assert load(sources, lake, orders, run_id="2").rows_published == 100_000


def test_a_source_that_changed_is_said_before_anything_is_read(
    sources: Settings, lake: Lake, orders: Table, shop: psycopg.Connection
) -> None:
    shop.execute("alter table orders rename order_id to number")
    with pytest.raises(SourceChanged, match=r"'order_id'.*bronze\.payments.*number"):
        load(sources, lake, orders, run_id="1")
    assert lake.table(orders.name).snapshots() == ()
