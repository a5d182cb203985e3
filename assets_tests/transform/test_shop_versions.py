"""The shop's dimensions, load by load, are what one query over all that was ever loaded would make of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from assets_tests.transform.by_key import in_changes
from lakehouse.contracts import read_tables
from lakehouse.iceberg import Lake, arrow_schema, connect, register
from lakehouse.settings import Settings
from lakehouse.tables import TableName
from lakehouse.transform.manifest import Manifest
from lakehouse.transform.project import parse
from lakehouse.transform.write import save_view, write_model

ORACLE = """
    with history as (
        select * from bronze.{bronze}
        qualify row_number() over (partition by {key}, updated_at order by _extracted_at desc) = 1
    ),
    compared as (
        select *, row({attributes}) is distinct from lag(row({attributes})) over history as changed
        from history window history as (partition by {key} order by updated_at)
    ),
    versions as (
        select *,
            case when lag(updated_at) over versions is null then created_at else updated_at end as valid_from,
            lead(updated_at) over versions as valid_to
        from compared where changed window versions as (partition by {key} order by updated_at)
    )
    select md5(concat_ws('|', {key}, epoch_us(valid_from))), {key}, {attributes}, valid_from, valid_to, valid_to is null
    from versions order by all"""
"""What the models were before rows entered by key: a version for each time an attribute changed."""
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Dimension:
    gold: str
    bronze: str
    key: str
    values: dict[str, Sequence[object]]

    @property
    def oracle(self) -> str:
        return ORACLE.format(bronze=self.bronze, key=self.key, attributes=", ".join(self.values))

    def load(self, dice: random.Random, number: int) -> list[dict[str, Any]]:
        """Some states of some keys: new, late, the same once more, or another of a moment that is known."""
        rows = []
        for _ in range(dice.randint(1, 6)):
            thing = dice.randint(1, 4)
            state: dict[str, Any] = {name: dice.choice(values) for name, values in self.values.items()}
            state |= {self.key: thing, "created_at": BEGINNING + timedelta(hours=thing)}
            state |= {"updated_at": BEGINNING + timedelta(hours=thing, minutes=dice.randint(0, 9))}
            rows.append(state)
        once = {(row[self.key], row["updated_at"]): row for row in rows}
        loaded = {"_extracted_at": BEGINNING + timedelta(days=number), "_source": "test", "_run_key": str(number)}
        return [{**row, **loaded} for row in once.values()]


DIMENSIONS = (
    Dimension(
        "dim_customer",
        "customers",
        "customer_id",
        {
            **dict.fromkeys(("name", "email"), ("a",)),
            "phone": (None, "1"),
            **dict.fromkeys(("address", "city", "country"), ("b",)),
            "tier": ("basic", "plus"),
        },
    ),
    Dimension(
        "dim_product",
        "products",
        "product_id",
        {"name": ("a", "b"), "category": ("c",), "price": (Decimal("1.00"), Decimal("1.50"))},
    ),
)


@pytest.fixture(scope="module")
def shop(
    tmp_path_factory: pytest.TempPathFactory, copy_project: Callable[[Path], Settings]
) -> tuple[Settings, Manifest]:
    settings = copy_project(tmp_path_factory.mktemp("project"))
    return settings, Manifest.read(parse(settings))


@pytest.fixture
def duck(shop: tuple[Settings, Manifest]) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(shop[0]) as connection:
        yield connection


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("of", DIMENSIONS, ids=[of.gold for of in DIMENSIONS])
def test_a_dimension_is_what_all_loads_together_make_it(
    shop: tuple[Settings, Manifest], duck: duckdb.DuckDBPyConnection, of: Dimension, seed: int
) -> None:
    settings, manifest = shop
    lake, declared, dice = Lake.open(settings), read_tables(settings.defs), random.Random(seed)  # noqa: S311  (repeatable)
    bronze, gold = TableName.parse(f"bronze.{of.bronze}"), TableName.parse(f"gold.{of.gold}")
    for name in (bronze, gold):
        if lake.exists(name):
            lake.drop(name)
    sql = manifest.by_table[gold].compiled_sql
    asked = sql.replace("where true", f"where {in_changes(str(bronze), of.key)}")
    assert asked != sql
    target = lake.create(declared[bronze])
    schema = arrow_schema(declared[bronze].stored_columns)
    view = next(model for model in manifest.models.values() if model.label == f"staging.stg_{of.bronze}")

    for number in range(1, 7):
        target.append(pa.Table.from_pylist(of.load(dice, number), schema=schema), run_key=f"{seed} {number}")
        register(duck, lake)
        save_view(lake, duck, "staging", f"stg_{of.bronze}", view.compiled_sql)
        write_model(lake, duck, declared[gold], asked, window=None, branch="main", run_key=f"{seed} {number}")
        register(duck, lake)
        found = duck.execute(f"select * from gold.{of.gold} order by all").fetchall()
        assert found == duck.execute(of.oracle).fetchall()
