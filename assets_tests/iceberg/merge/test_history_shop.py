"""The shop's product dimension, load by load, against the query that made it from all of bronze at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pytest

from lakehouse.contracts import read_tables
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.settings import Settings
from lakehouse.tables import TableName

AT_ONCE = """
with compared as (
    select *, row(name, category, price) is distinct from lag(row(name, category, price)) over history as changed
    from products window history as (partition by product_id order by updated_at)
), versions as (
    select *,
        case when lag(updated_at) over versions is null then created_at else updated_at end as valid_from,
        lead(updated_at) over versions as valid_to
    from compared where changed window versions as (partition by product_id order by updated_at)
)
select md5(concat_ws('|', product_id, epoch_us(valid_from))) as product_key, product_id, name, category, price,
    valid_from, valid_to, valid_to is null as is_current
from versions order by all
"""
"""What dbt's macro `scd2` was rendered to."""
LOAD = """
select product_id, name, category, price,
    case when lag(updated_at) over (partition by product_id order by updated_at) is null
        then created_at else updated_at end as valid_from
from products where product_id in (select product_id from products where load = {load})
"""
"""All changes of the keys that a load brought; the first version known holds from the product's creation on."""
DAY = datetime(2026, 1, 1, tzinfo=UTC)


class Product(NamedTuple):
    """A row of bronze, each version once."""

    product_id: int
    name: str
    category: str
    price: Decimal
    created_at: datetime
    updated_at: datetime
    load: int


def bronze(random: Random, loads: int) -> list[Product]:
    """Versions of products in loads: some say nothing new, some come loads late."""
    found: dict[tuple[int, int], Product] = {}
    for _ in range(60):
        number, hour = random.randint(1, 8), random.randint(1, 40)
        price = Decimal(random.choice([100, 100, 150, 200])) / 100
        updated_at = DAY + timedelta(days=number, hours=hour)
        load = min(loads - 1, hour * loads // 40 + random.choice([0, 0, 0, 1, 2]))
        product = Product(number, random.choice(["Pen", "Ink"]), "office", price, DAY, updated_at, load)
        found[number, hour] = product
    return list(found.values())


@pytest.fixture
def plain() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield connection


@pytest.fixture
def products(lake: Lake, settings: Settings) -> LakeTable:
    return lake.create(read_tables(settings.defs)[TableName.parse("gold.dim_product")])


@pytest.mark.parametrize("complete", [True, False])
def test_a_dimension_load_by_load_is_that_of_all_loads(
    products: LakeTable, duck: duckdb.DuckDBPyConnection, plain: duckdb.DuckDBPyConnection, *, complete: bool
) -> None:
    loads = 4
    rows = bronze(Random(8), loads)  # noqa: S311  (a seed, no secret)
    asked: dict[str, Any] = {"key": ["product_id"], "effective": "valid_from", "surrogate": "product_key"}
    for load in range(loads):
        known = [row._asdict() for row in rows if row.load <= load]
        plain.register("products", pa.Table.from_pylist(known))
        changes = plain.sql(LOAD.format(load=load)).to_arrow_table()
        products.history(changes, connection=duck, complete=complete, run_key=f"load {load}", **asked)
        expected = plain.sql(AT_ONCE).fetchall()
        assert duck.sql(f"select * from {products.relation_sql()} order by all").fetchall() == expected
    assert len({row[1] for row in expected}) == 8
    assert sum(row[-1] for row in expected) == 8
    assert len(expected) > 16
