"""What silver and gold ought to hold, by plain SQL over the shop's own database and the files of its landing zone.

Nothing of the lake goes into it, and none of its SQL: files are read line by line, rates are those of the truth.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
from psycopg import Connection

from lakehouse.iceberg.query import run_query
from lakehouse.settings import Settings
from lakehouse.storage import Store

Row = tuple[Any, ...]
Content = Mapping[str, Counter[Row]]
"""Rows of each table, and how often each is there."""

COLUMNS = {
    "silver.orders": "order_id, customer_id, order_date, status, currency, updated_at",
    "gold.fct_orders": "order_id, order_date, status, currency, items, pieces, gross, paid, gross_eur, paid_eur",
    "gold.daily_revenue": "order_date, orders, cancelled, customers, pieces, revenue_eur, paid_eur",
}
_KNOWN = {"EUR", "USD", "GBP", "SEK"}
_ID = re.compile(r"P[0-9]+")
_READ = {
    "orders": "select order_id, customer_id, order_date, status, currency, updated_at from public.orders",
    "items": "select order_id, quantity, unit_price, discount from public.order_items",
    "rates": "select date, currency, rate_to_eur from truth.rates where currency <> 'EUR'",
}
_FACTS = """
create table facts as
with line as (
    select order_id, quantity, round(quantity * unit_price * (1 - discount), 2) as worth from items
), bought as (
    select order_id, count(*) as items, sum(quantity) as pieces, sum(worth) as gross from line group by order_id
), paid as (
    select order_id, currency, sum(amount) as paid
    from (select distinct payment_id, order_id, currency, amount from payments) group by order_id, currency
)
select order_id, customer_id, order_date, status, orders.currency, bought.items, bought.pieces, bought.gross,
    coalesce(paid.paid, 0) as paid,
    round(gross * coalesce(rate_to_eur, 1), 2) as gross_eur,
    round(coalesce(paid.paid, 0) * coalesce(rate_to_eur, 1), 2) as paid_eur,
    updated_at
from orders
join bought using (order_id)
left join paid on paid.order_id = orders.order_id and paid.currency = orders.currency
left join rates on rates.currency = orders.currency and rates.date = orders.order_date
"""
_DAYS = """
select order_date, count(*), count(*) filter (status = 'cancelled'),
    count(distinct customer_id) filter (status <> 'cancelled'),
    coalesce(sum(pieces) filter (status <> 'cancelled'), 0),
    coalesce(sum(gross_eur) filter (status <> 'cancelled'), 0),
    coalesce(sum(paid_eur) filter (status <> 'cancelled'), 0)
from facts group by order_date
"""


def expected(shop: Connection[Row], landing: Store) -> Content:
    """What the tables must hold once everything of the sources has reached them."""
    with duckdb.connect() as duck:
        duck.execute("set TimeZone = 'UTC'")
        for name, sql in _READ.items():
            cursor = shop.execute(sql)
            names = [column.name for column in cursor.description or ()]
            duck.register(name, pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in cursor]))
        duck.register("payments", pa.Table.from_pylist(list(_payments(landing))))
        duck.execute(_FACTS)
        return {
            "silver.orders": _rows(duck, f"select {COLUMNS['silver.orders']} from facts"),
            "gold.fct_orders": _rows(duck, f"select {COLUMNS['gold.fct_orders']} from facts"),
            "gold.daily_revenue": _rows(duck, _DAYS),
        }


def found(settings: Settings) -> Content:
    """What readers of the lake see now."""
    return {name: _counted(run_query(settings, f"select {columns} from {name}")) for name, columns in COLUMNS.items()}


def differing_days(one: Content, other: Content) -> set[date]:
    """The days of which two contents do not say the same, in any table."""
    rows = (row for name in COLUMNS for row in ((one[name] - other[name]) + (other[name] - one[name])))
    return {value for row in rows for value in row if type(value) is date}


def _payments(landing: Store) -> Iterator[dict[str, object]]:
    """Every good line of every file; what is broken is quarantined, what comes again is the same payment."""
    for file in landing.list("payments/"):
        with landing.open(file.path) as opened:
            lines = opened.read().decode().splitlines()
        for line in lines:
            try:
                sent = json.loads(line)
            except ValueError:
                continue
            if sent.get("amount") is not None and sent["currency"] in _KNOWN and _ID.fullmatch(sent["payment_id"]):
                kept = {name: sent[name] for name in ("payment_id", "order_id", "currency")}
                yield {**kept, "amount": Decimal(sent["amount"])}


def _rows(duck: duckdb.DuckDBPyConnection, sql: str) -> Counter[Row]:
    return _counted(duck.execute(sql).to_arrow_table())


def _counted(table: pa.Table) -> Counter[Row]:
    return Counter(zip(*(column.to_pylist() for column in table.columns), strict=True))
