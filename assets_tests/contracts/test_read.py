"""The shop's contracts, read whole, and what single keys of a contract become."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import yaml

from lakehouse.contracts import Declarations, read_tables
from lakehouse.tables import (
    Column,
    Layer,
    LoadPolicy,
    PartitionField,
    Strategy,
    Table,
    TableName,
    TableRuleKind,
    Upkeep,
)

DEFS = Path(__file__).resolve().parents[2] / "lakehouse" / "defs"
SHOP = sorted(DEFS.rglob("*.yaml"))
KEY = {"name": "id", "logicalType": "integer", "primaryKey": True}


@pytest.fixture(scope="module")
def shop() -> Declarations:
    return read_tables([DEFS])


def name(text: str) -> TableName:
    return TableName.parse(text)


def test_the_shop_declares_its_tables(shop: Declarations) -> None:
    found = {layer: [table.name.table for table in shop.layer(layer)] for layer in Layer}
    assert found == {
        Layer.BRONZE: ["customers", "exchange_rates", "order_items", "orders", "payments", "products"],
        Layer.SILVER: ["customers", "order_items", "orders", "payments", "products"],
        Layer.GOLD: ["daily_revenue", "dim_customer", "dim_date", "dim_product", "fct_orders"],
        Layer.QUARANTINE: [],
        Layer.OPS: [],
    }
    assert list(shop) == sorted(shop)
    assert shop.by_domain("shop") == tuple(shop.values())
    assert shop.by_domain("other") == ()


def test_the_daily_chain(shop: Declarations) -> None:
    chain = ["bronze.orders", "silver.orders", "gold.fct_orders", "gold.daily_revenue"]
    windowed = {str(one) for one, table in shop.items() if table.window_column}
    assert windowed == set(chain)
    for one in chain:
        table = shop[name(one)]
        assert (table.window_column, table.window_start) == ("order_date", date(2026, 1, 1))
        assert table.partition_by == (PartitionField("order_date", "day"),)
    strategies = [shop[name(one)].strategy for one in chain]
    assert strategies == [Strategy.APPEND, *[Strategy.OVERWRITE] * 3]


def test_how_the_other_models_of_the_shop_enter_their_tables(shop: Declarations) -> None:
    others = {one: table for one, table in shop.items() if one.layer is not Layer.BRONZE and not table.windowed}
    assert {str(one): table.strategy for one, table in others.items()} == {
        "silver.customers": Strategy.MERGE,
        "silver.order_items": Strategy.MERGE,
        "silver.payments": Strategy.MERGE,
        "silver.products": Strategy.MERGE,
        "gold.dim_customer": Strategy.SCD2,
        "gold.dim_product": Strategy.SCD2,
        "gold.dim_date": Strategy.REPLACE,
    }


def test_where_the_shop_loads_from(shop: Declarations) -> None:
    assert shop[name("bronze.orders")].load == LoadPolicy(
        "shop", {"table": "public.orders", "watermark": "updated_at", "clock": "shop_now()"}
    )
    assert shop[name("bronze.payments")].load == LoadPolicy("landing", {"files": "payments/*.jsonl"}, reject_limit=0.2)
    assert shop[name("bronze.exchange_rates")].load == LoadPolicy(
        "rates", {"path": "/rates", "records": "rates", "since": "since", "watermark": "date"}
    )
    assert all((table.load is not None) == (table.name.layer is Layer.BRONZE) for table in shop.values())


def test_customers_are_masked_in_every_layer(shop: Declarations) -> None:
    for one in ("bronze.customers", "silver.customers", "gold.dim_customer"):
        # What the source has beyond the contract may be personal too; of products, nobody would say so.
        extra = {"_extra"} if one.startswith("bronze") else set()
        assert shop[name(one)].personal_columns == {"name", "email", "phone", "address"} | extra
    assert shop[name("bronze.products")].personal_columns == frozenset()


def test_types_of_the_money(shop: Declarations) -> None:
    fact = {column.name: column.type for column in shop[name("gold.fct_orders")].columns}
    assert fact["gross"] == fact["gross_eur"] == fact["paid_eur"] == "decimal(18, 2)"
    assert fact["rate_to_eur"] == shop[name("bronze.exchange_rates")].column("rate_to_eur").type == "decimal(12, 6)"
    assert shop[name("bronze.payments")].column("amount") == Column(
        "amount",
        "decimal(12, 2)",
        required=True,
        description="What was paid, in the currency beside it",
    )


def test_every_column_of_the_shop_is_described_and_every_table_owned(shop: Declarations) -> None:
    bare = [f"{one}.{column.name}" for one in shop for column in shop[one].columns if len(column.description) < 7]
    assert bare == []
    assert all("@" in owner for table in shop.values() for owner in table.owners)
    assert all(table.fresh_within for table in shop.values() if table.name.table != "dim_date")


@pytest.mark.parametrize("path", SHOP, ids=lambda path: "/".join(path.parts[-2:]))
def test_the_shop_conforms_to_the_standards_own_schema(path: Path) -> None:
    schema = json.loads(files("open_data_contract_standard").joinpath("schema.json").read_text("utf-8"))
    data = json.loads(json.dumps(yaml.safe_load(path.read_text("utf-8")), default=str))
    faults = [error.message for error in jsonschema.Draft201909Validator(schema).iter_errors(data)]
    assert faults == []


def test_files_that_are_not_contracts_are_left_alone(declare: Callable[..., Table]) -> None:
    folder = declare([KEY]).file.parents[2]
    (folder / "shop/silver/.things.yaml").write_text("half an edit [")
    (folder / "shop/readme.md").write_text("# Shop")
    assert [str(one) for one in read_tables([folder])] == ["silver.things"]


def test_declarations_do_not_change(shop: Declarations) -> None:
    with pytest.raises(TypeError):
        shop[name("silver.orders")] = None  # type: ignore[index]  # what the test is about
    with pytest.raises(KeyError):
        shop[name("silver.nothing")]
    assert shop == read_tables([DEFS])


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"logicalType": "integer"}, "long"),
        ({"logicalType": "integer", "physicalType": "int"}, "int"),
        ({"logicalType": "number"}, "double"),
        ({"logicalType": "number", "physicalType": "decimal(12,2)"}, "decimal(12, 2)"),
        ({"physicalType": "decimal( 38 , 0 )"}, "decimal(38, 0)"),
        ({"logicalType": "string"}, "string"),
        ({"logicalType": "string", "physicalType": "uuid"}, "uuid"),
        ({"physicalType": "fixed(16)"}, "fixed[16]"),
        ({"logicalType": "date"}, "date"),
        ({"logicalType": "time"}, "time"),
        ({"logicalType": "boolean"}, "boolean"),
        ({"logicalType": "timestamp"}, "timestamptz"),
        ({"logicalType": "timestamp", "logicalTypeOptions": {"timezone": False}}, "timestamp"),
        ({"logicalType": "timestamp", "physicalType": "timestamp"}, "timestamp"),
    ],
)
def test_types(declare: Callable[..., Table], stated: dict[str, object], expected: str) -> None:
    table = declare([KEY, {"name": "value", **stated}])
    assert table.column("value").type == expected


def test_a_key_is_required_and_ordered_by_its_positions(declare: Callable[..., Table]) -> None:
    table = declare(
        [
            {"name": "day", "logicalType": "date", "primaryKey": True, "primaryKeyPosition": 2},
            {"name": "shop", "logicalType": "string", "primaryKey": True, "primaryKeyPosition": 1},
        ]
    )
    assert table.primary_key == ("shop", "day")
    assert all(column.required for column in table.columns)
    assert [(rule.name, rule.kind, rule.columns) for rule in table.table_rules] == [
        ("shop_day_unique", TableRuleKind.UNIQUE, ("shop", "day"))
    ]


def test_a_bronze_key_is_not_unique(declare: Callable[..., Table]) -> None:
    table = declare([KEY], name="bronze.things", custom={"load": {"source": "shop"}})
    assert table.primary_key == ("id",)
    assert table.table_rules == ()


def test_layout_and_upkeep(declare: Callable[..., Table]) -> None:
    table = declare(
        [KEY, {"name": "at", "logicalType": "timestamp", "required": True}, {"name": "kind", "logicalType": "string"}],
        custom={
            "window": {"column": "at", "start": "2026-02-03"},
            "strategy": "overwrite",
            "partition": ["bucket[16](id)", "truncate[3](kind)", "kind", "hour(at)"],
            "sort": ["kind", "id"],
            "upkeep": {"targetFileMb": 64, "keepSnapshotsDays": 3},
        },
    )
    assert table.partition_by == (
        PartitionField("at", "day"),
        PartitionField("id", "bucket[16]"),
        PartitionField("kind", "truncate[3]"),
        PartitionField("kind", "identity"),
        PartitionField("at", "hour"),
    )
    assert table.sort_by == ("kind", "id")
    assert table.upkeep == Upkeep(target_file_mb=64, keep_snapshots=timedelta(days=3))
    assert table.window_start == date(2026, 2, 3)


def test_the_rest_of_a_contract(declare: Callable[..., Table]) -> None:
    table = declare(
        [KEY],
        more={
            "tags": ["finance", "tier: gold"],
            "description": {"purpose": "Things. ", "usage": "Count them.", "limitations": "No more."},
            "team": [{"username": "one@example.com"}, {"username": "two@example.com"}],
            "slaProperties": [
                {"property": "retention", "value": 3, "unit": "y"},
                {"property": "latency", "value": 1.5, "unit": "d"},
            ],
        },
    )
    assert table.tags == {"finance": "", "tier": "gold"}
    assert table.description == "Things.\n\nUsage: Count them.\n\nLimitations: No more."
    assert table.owners == ("one@example.com", "two@example.com")
    assert table.fresh_within == timedelta(hours=36)
    assert table.version == "2.1.0"
    assert table.domain == "shop"
    assert table.file.parts[-3:] == ("shop", "silver", "things.yaml")
    assert table.load is None


@pytest.mark.parametrize("word", ["NO", "on", "1:30", "010", "2026-01-01", "1_000"])
def test_words_that_old_yaml_takes_for_something_else_stay_text(declare: Callable[..., Table], word: str) -> None:
    path = declare([KEY]).file
    path.write_text(path.read_text().replace('"Things"', word))
    assert read_tables([path.parents[2]])[name("silver.things")].description == word
