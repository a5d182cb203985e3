"""What the shop's gold.fct_orders states: which orders another rate, or another version of a customer, is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from lakehouse.changes import Consumed, Edge, days_touched, edges_of
from lakehouse.contracts import Declarations, read_tables
from lakehouse.iceberg import Lake, LakeTable, connect, register
from lakehouse.settings import Settings
from lakehouse.tables import TableName

ORDERS, RATES = TableName.parse("silver.orders"), TableName.parse("bronze.exchange_rates")
CUSTOMERS, FACTS = TableName.parse("gold.dim_customer"), TableName.parse("gold.fct_orders")
Row = Mapping[str, Any]


def moment(day: int, hour: int = 0) -> datetime:
    return datetime(2026, 1, day, hour, tzinfo=UTC)


def day(number: int) -> date:
    return date(2026, 1, number)


@pytest.fixture(scope="module")
def shop() -> Declarations:
    return read_tables([Path(__file__).resolve().parents[2] / "lakehouse" / "defs"])


@pytest.fixture
def edges(shop: Declarations) -> Mapping[TableName, Edge]:
    return {edge.upstream: edge for edge in edges_of(shop[FACTS], [ORDERS, RATES, CUSTOMERS], shop)}


@pytest.fixture
def orders(lake: Lake, shop: Declarations) -> LakeTable:
    """Ten days; customer 1 orders in USD at noon, customer 2 in SEK in the first minute."""
    rows = [
        {
            "order_id": 2 * number + customer,
            "customer_id": customer,
            "order_date": day(number),
            "status": "placed",
            "currency": currency,
            "created_at": moment(number, hour),
            "updated_at": moment(number, hour),
        }
        for number in range(1, 11)
        for customer, currency, hour in ((1, "USD", 12), (2, "SEK", 0))
    ]
    table = lake.create(shop[ORDERS])
    table.append(of(table, rows), run_key="orders")
    return table


def of(table: LakeTable, rows: list[dict[str, Any]]) -> pa.RecordBatchReader:
    return pa.Table.from_pylist(rows, schema=table.schema()).to_reader()


def rate(number: int, currency: str = "USD") -> Row:
    return {
        "date": day(number),
        "currency": currency,
        "rate_to_eur": 1,
        "_extracted_at": moment(20),
        "_source": "test",
        "_run_key": "test",
        "_source_version": None,
        "_extra": None,
    }


def version(customer: int, start: datetime, end: datetime | None) -> Row:
    names = ("name", "email", "phone", "address", "city", "country", "tier")
    return {
        **dict.fromkeys(names, "x"),
        "customer_key": f"{customer} {start}",
        "customer_id": customer,
        "valid_from": start,
        "valid_to": end,
        "is_current": end is None,
    }


@pytest.fixture
def duck(settings: Settings, lake: Lake, orders: LakeTable) -> Iterator[duckdb.DuckDBPyConnection]:  # noqa: ARG001  (registered)
    with connect(settings) as connection:
        yield connection


def touched(lake: Lake, duck: duckdb.DuckDBPyConnection, edge: Edge, since: Consumed) -> list[int]:
    register(duck, lake)
    found = days_touched(lake, duck, edge, since)
    assert isinstance(found, dict)
    return [of.day for of in found]


def now(table: LakeTable) -> Consumed:
    head = table.snapshot()
    return Consumed(head.sequence_number, head.id) if head else Consumed(0, 0)


@pytest.mark.parametrize(
    ("rates", "days"),
    [
        ([rate(4)], [4, 5, 6]),  # up to the next that is known
        ([rate(1)], [1, 2]),
        ([rate(9)], [9, 10]),
        ([rate(7)], [7, 8, 9, 10]),  # corrected
        ([rate(4), rate(5), rate(8)], [4, 5, 6, 8, 9, 10]),
        ([rate(4, "SEK")], list(range(4, 11))),
        ([rate(4, "GBP")], []),
    ],
)
def test_a_rate_is_about_the_orders_until_the_next_one(  # noqa: PLR0913, PLR0917  (fixtures, and the case)
    lake: Lake,
    shop: Declarations,
    edges: Mapping[TableName, Edge],
    duck: duckdb.DuckDBPyConnection,
    rates: list[dict[str, Any]],
    days: list[int],
) -> None:
    table = lake.create(shop[RATES])
    table.append(of(table, [dict(rate(3)), dict(rate(7))]), run_key="first")
    since = now(table)

    table.append(of(table, rates), run_key="late")

    assert touched(lake, duck, edges[RATES], since) == days


FIRST = version(1, moment(1), None)
SPLIT = [version(1, moment(1), moment(5, 6)), version(1, moment(5, 6), None)]


@pytest.mark.parametrize(
    ("before", "after", "days"),
    [
        ([FIRST], SPLIT, [5, 6, 7, 8, 9, 10]),  # the fifth's order came at noon, after the change
        ([FIRST], [version(1, moment(1), moment(5, 18)), version(1, moment(5, 18), None)], [6, 7, 8, 9, 10]),
        (SPLIT, [*SPLIT[:1], version(1, moment(5, 6), moment(8)), version(1, moment(8), None)], [8, 9, 10]),
        ([FIRST], [{**FIRST, "city": "another"}], []),  # only the key is read
        ([FIRST], [FIRST, version(2, moment(9), None)], [9, 10]),
        ([FIRST], [], list(range(1, 11))),
        (SPLIT, SPLIT, []),
    ],
)
def test_a_version_is_about_the_orders_that_it_now_holds_for(  # noqa: PLR0913, PLR0917  (fixtures, and the case)
    lake: Lake,
    shop: Declarations,
    edges: Mapping[TableName, Edge],
    duck: duckdb.DuckDBPyConnection,
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    days: list[int],
) -> None:
    table = lake.create(shop[CUSTOMERS])
    table.overwrite(of(table, before), where=None, run_key="before")
    since = now(table)

    table.overwrite(of(table, after), where=None, run_key="after")

    assert touched(lake, duck, edges[CUSTOMERS], since) == days


def test_what_the_shop_does_not_state_is_plain(shop: Declarations) -> None:
    parents = [ORDERS, TableName.parse("silver.order_items"), TableName.parse("silver.payments")]

    found = {str(edge.upstream): (edge.reach, edge.assumed) for edge in edges_of(shop[FACTS], parents, shop)}

    assert found == {
        "silver.orders": ("same day", False),
        "silver.order_items": ("by key", False),
        "silver.payments": ("by key", False),
    }
