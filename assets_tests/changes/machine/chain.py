"""The chain that everybody works on: its tables, the SQL of its models, and which reads what.

    bronze.orders   -> silver.orders   -> gold.facts
    bronze.payments -> silver.payments ---^
    bronze.rates -------------------------^

What the rows must be is `model.py`, which knows no SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

from lakehouse.contracts import Declarations
from lakehouse.tables import (
    Bound,
    Column,
    Comparison,
    Follow,
    Reach,
    Strategy,
    Table,
    TableName,
    TableRule,
    TableRuleKind,
    Window,
)

START = date(2026, 1, 1)
DAYS = 60

B_ORDERS, B_PAYMENTS, B_RATES = (TableName.parse(f"bronze.{name}") for name in ("orders", "payments", "rates"))
ORDERS, PAYMENTS = TableName.parse("silver.orders"), TableName.parse("silver.payments")
FACTS = TableName.parse("gold.facts")
READERS = (ORDERS, FACTS)
"""The daily tables, parents first."""
PARENTS: Mapping[TableName, frozenset[TableName]] = {
    ORDERS: frozenset({B_ORDERS}),
    PAYMENTS: frozenset({B_PAYMENTS}),
    FACTS: frozenset({ORDERS, PAYMENTS, B_RATES}),
}
CHAIN = {ORDERS: B_ORDERS, FACTS: ORDERS}
"""What each daily table follows day by day."""

_REACH_OF_A_RATE = """
select orders.day from changes join silver.orders as orders
    on orders.currency = changes.currency and orders.day >= changes.day
where orders.day < coalesce((
    select min(later.day) from bronze.rates as later
    where later.currency = changes.currency and later.day > changes.day), date '9999-12-31')
"""
"""A rate counts for the orders of its currency, from its day to the next that is known."""

_MODELS = {
    ORDERS: """
        select order_id, day, currency, amount from (
            select * from bronze.orders where {days}
            qualify row_number() over (partition by order_id order by version desc) = 1)
        where not gone""",
    PAYMENTS: """
        select payment_id, order_id, amount from (
            select * from bronze.payments
            qualify row_number() over (partition by payment_id order by version desc) = 1)
        where not gone""",
    FACTS: """
        with orders as (select * from silver.orders where {days}),
        rates as (select currency, day, arg_max(rate, version) as rate from bronze.rates group by all),
        paid as (select order_id, sum(amount) as paid from silver.payments group by order_id)
        select orders.order_id, orders.day, orders.amount * rates.rate as worth, coalesce(paid.paid, 0) as paid
        from orders
        asof left join rates on orders.currency = rates.currency and orders.day >= rates.day
        left join paid on orders.order_id = paid.order_id""",
}


AGREES = TableRule(
    "agrees_with_orders",
    TableRuleKind.SQL,
    (),
    {
        "query": """
            select count(*) from {object} as facts full join silver.orders as orders using (order_id)
            where facts.order_id is null or orders.order_id is null""",
        "bound": Bound(Comparison.EQUAL, (0,)),
    },
)
"""A rule of gold.facts that names another table. Days to be repaired break it on main, and no repair makes it worse."""


def day(number: int) -> date:
    return START + timedelta(days=number)


def number_of(found: date) -> int:
    return (found - START).days


def window_of(first: int, last: int) -> Window:
    return Window.of_days(day(first), day(last))


def sql_of(name: TableName, window: Window | None) -> str:
    days = "true" if window is None else f"day >= date '{window.start}' and day < date '{window.end}'"
    return _MODELS[name].format(days=days)


def _table(
    name: TableName,
    columns: Mapping[str, str],
    key: tuple[str, ...],
    *follows: Follow,
    rules: tuple[TableRule, ...] = (),
) -> Table:
    daily = name in {*READERS, B_ORDERS}
    made = tuple(Column(column, kind, required=column == "day") for column, kind in columns.items())
    return Table(
        name,
        "shop",
        "",
        made,
        Path(f"{name}.yaml"),
        primary_key=key,
        window_column="day" if daily else None,
        window_start=START if daily else None,
        strategy=Strategy.OVERWRITE if name in READERS else Strategy.REPLACE,
        follows=follows,
        table_rules=rules,
    )


_ORDER = {"order_id": "long", "day": "date", "currency": "string", "amount": "long"}
_PAYMENT = {"payment_id": "long", "order_id": "long", "amount": "long"}
_VERSION = {"version": "long", "gone": "boolean"}
TABLES = Declarations(
    [
        _table(B_ORDERS, _ORDER | _VERSION, ("order_id",)),
        _table(B_PAYMENTS, _PAYMENT | _VERSION, ("payment_id",)),
        _table(B_RATES, {"currency": "string", "day": "date", "rate": "long", "version": "long"}, ("currency", "day")),
        _table(ORDERS, _ORDER, ("order_id",)),
        _table(PAYMENTS, _PAYMENT, ("payment_id",)),
        _table(
            FACTS,
            {"order_id": "long", "day": "date", "worth": "long", "paid": "long"},
            ("order_id",),
            Follow(B_RATES, Reach.BY_SQL, _REACH_OF_A_RATE, (ORDERS, B_RATES)),
            rules=(AGREES,),
        ),
    ]
)
