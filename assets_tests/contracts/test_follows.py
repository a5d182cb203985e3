"""`follows`: what a daily table states about the tables that its model reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lakehouse.contracts.diff import compare
from lakehouse.contracts.mistakes import find_mistakes
from lakehouse.contracts.read import read_tables
from lakehouse.errors import ContractError
from lakehouse.tables import Follow, Reach, Table, TableName

ID = {"name": "order_id", "logicalType": "integer", "primaryKey": True, "required": True}
DAY = {"name": "day", "logicalType": "date", "required": True}
WINDOW = {"window": {"column": "day", "start": "2026-01-01"}, "strategy": "overwrite"}
SILVER, RATES = TableName.parse("silver.orders"), TableName.parse("silver.rates")
JOINED = "select placed.day from changes join silver.orders as placed using (order_id)"


@pytest.fixture
def folder(declare: Callable[..., Table]) -> Path:
    """A daily table, and one without days, in a folder for more."""
    folder = declare([ID, DAY], custom=WINDOW, name="silver.orders").file.parents[2]
    declare([ID, {"name": "rate", "logicalType": "number"}], name="silver.rates", folder=folder)
    return folder


@pytest.fixture
def state(declare: Callable[..., Table], folder: Path) -> Callable[..., Table]:
    """state(entry, ...): a daily gold table that states these entries."""

    def stated(*entries: object, custom: Mapping[str, object] = WINDOW, name: str = "gold.sales") -> Table:
        return declare([ID, DAY], custom={**custom, "follows": list(entries)}, name=name, folder=folder)

    return stated


@pytest.mark.parametrize(
    ("table", "days", "reach"),
    [
        ("silver.rates", "all", Reach.EVERY),
        ("silver.rates", "none", Reach.NONE),
        ("silver.orders", "same", Reach.SAME_DAY),
    ],
)
def test_days_in_a_word(state: Callable[..., Table], table: str, days: str, reach: Reach) -> None:
    assert state({"table": table, "days": days}).follows == (Follow(TableName.parse(table), reach),)


def test_days_by_sql_with_the_tables_that_it_reads(state: Callable[..., Table]) -> None:
    (follow,) = state({"table": "silver.rates", "days": f" {JOINED};\n"}).follows

    assert follow == Follow(RATES, Reach.BY_SQL, JOINED, (SILVER,))


@pytest.mark.parametrize(
    ("days", "reads"),
    [
        ("select day::date from (select unnest([_change, rate::text]) as day from changes)", ()),
        (
            "with late as (from changes select order_id) select day from late join silver.orders using (order_id)",
            (SILVER,),
        ),
        ("select day from silver.orders where order_id in (select changes.order_id from changes)", (SILVER,)),
        (
            "select day from changes join silver.orders o using (order_id) union select day from silver.orders",
            (SILVER,),
        ),
        (
            "select day from changes c, silver.orders o where c.rate > (select avg(rate) from silver.rates)",
            (SILVER, RATES),
        ),
    ],
)
def test_queries_that_may_be(state: Callable[..., Table], days: str, reads: tuple[TableName, ...]) -> None:
    assert state({"table": "silver.rates", "days": days}).follows[0].reads == reads


def test_a_week_of_days(state: Callable[..., Table]) -> None:
    """As the documentation has it, for a table over a week of another one."""
    week = "select unnest(generate_series(day, day + 6, interval 1 day)) from changes"

    assert state({"table": "silver.orders", "days": week}).follows == (Follow(SILVER, Reach.BY_SQL, week),)


BAD: dict[str, tuple[object, str, list[str]]] = {
    "no list": ({"table": "silver.rates"}, "follows[0].days", ["no days"]),
    "no mapping": ("silver.rates", "follows[0]", ["is a mapping"]),
    "unknown key": ({"table": "silver.rates", "day": "all"}, "follows[0].day", ["unknown key of follows 'day'"]),
    "no table": ({"days": "all"}, "follows[0].table", ["names a table", "None"]),
    "no name": ({"table": "rates", "days": "all"}, "follows[0].table", ["layer.table", "'rates'"]),
    "itself": ({"table": "gold.sales", "days": "all"}, "follows[0].table", ["gold.sales is the table itself"]),
    "undeclared": ({"table": "silver.rate", "days": "all"}, "follows[0].table", ["'silver.rate'", "silver.rates"]),
    "unknown word": ({"table": "silver.rates", "days": "some"}, "follows[0].days", ["unknown days 'some'", "a SELECT"]),
    "no SQL": ({"table": "silver.rates", "days": "select from where"}, "follows[0].days", ["does not parse"]),
    "two statements": ({"table": "silver.rates", "days": f"{JOINED}; select 1"}, "follows[0].days", ["one SQL"]),
    "not a query": ({"table": "silver.rates", "days": "delete from changes"}, "follows[0].days", ["unknown days"]),
    "two columns": (
        {"table": "silver.rates", "days": "select order_id, rate from changes"},
        "follows[0].days",
        ["one column"],
    ),
    "all columns": ({"table": "silver.rates", "days": "select * from changes"}, "follows[0].days", ["one column"]),
    "not of changes": (
        {"table": "silver.rates", "days": "select day from silver.orders"},
        "follows[0].days",
        ["changes"],
    ),
    "a view": (
        {"table": "silver.rates", "days": "select day from changes join staging.stg_orders using (order_id)"},
        "follows[0].days",
        ["stg_orders is no table of the lake"],
    ),
    "another table": (
        {"table": "silver.rates", "days": "select day from changes join silver.order using (order_id)"},
        "follows[0].days",
        ["'silver.order'", "Did you mean 'silver.orders'"],
    ),
    "another column": (
        {
            "table": "silver.rates",
            "days": "select placed.date from changes join silver.orders as placed using (order_id)",
        },
        "follows[0].days",
        ["unknown column"],
    ),
    "another column of changes": (
        {"table": "silver.rates", "days": "select changes.day from changes"},
        "follows[0].days",
        ["unknown column"],
    ),
    "same without days": ({"table": "silver.rates", "days": "same"}, "follows[0].days", ["silver.rates has no days"]),
}


@pytest.mark.parametrize("bad", BAD)
def test_mistakes_say_where(state: Callable[..., Table], bad: str) -> None:
    entry, where, words = BAD[bad]

    with pytest.raises(ContractError) as caught:
        state(entry)

    error = str(caught.value)
    assert "sales.yaml:" in error
    position, _, key = where.partition(".")
    assert f"customProperties[2].value{position.removeprefix('follows')}{'.' + key if key else ''}" in error
    for word in words:
        assert word in error


def test_one_statement_a_table(state: Callable[..., Table]) -> None:
    with pytest.raises(ContractError, match=r"silver\.rates is stated twice"):
        state({"table": "silver.rates", "days": "all"}, {"table": "silver.rates", "days": "none"})


@pytest.mark.parametrize("value", ["silver.rates", [], {"silver.rates": "all"}])
def test_it_is_a_list(declare: Callable[..., Table], folder: Path, value: object) -> None:
    with pytest.raises(ContractError, match="follows is a list"):
        declare([ID, DAY], custom={**WINDOW, "follows": value}, name="gold.sales", folder=folder)


def test_only_a_table_with_days_follows(state: Callable[..., Table]) -> None:
    with pytest.raises(ContractError, match="follows on a table without days"):
        state({"table": "silver.rates", "days": "all"}, custom={})


def test_every_mistake_of_a_contract_is_told(declare: Callable[..., Table], folder: Path) -> None:
    entries = [{"table": "silver.rates", "days": "same"}, {"table": "silver.nowhere", "days": "all"}]
    with pytest.raises(ContractError):
        declare([ID, DAY], custom={**WINDOW, "follows": entries}, name="gold.sales", folder=folder)

    assert [mistake.path for mistake in find_mistakes([folder])] == [
        "customProperties[2].value[0].days",
        "customProperties[2].value[1].table",
    ]


def test_a_broken_contract_is_not_blamed_on_those_who_name_it(state: Callable[..., Table], folder: Path) -> None:
    state({"table": "silver.rates", "days": JOINED}, {"table": "silver.orders", "days": "same"})
    broken = folder / "shop" / "silver" / "orders.yaml"
    broken.write_text(broken.read_text("utf-8").replace('"day"', '"dya"', 1), "utf-8")

    assert {mistake.file for mistake in find_mistakes([folder])} == {broken}


def test_what_a_table_follows_breaks_no_reader(state: Callable[..., Table]) -> None:
    old = state({"table": "silver.rates", "days": "all"})
    new = state({"table": "silver.rates", "days": JOINED})

    (difference,) = compare(old, new)
    assert (difference.subject, difference.breaking) == ("follows", False)
    assert compare(old, old) == ()


def test_the_shop_states_what_cannot_be_told() -> None:
    tables = read_tables([Path(__file__).resolve().parents[2] / "lakehouse" / "defs"])

    found = {str(follow.table): follow.reach for follow in tables[TableName.parse("gold.fct_orders")].follows}

    assert found == {"bronze.exchange_rates": Reach.BY_SQL, "gold.dim_customer": Reach.BY_SQL}
