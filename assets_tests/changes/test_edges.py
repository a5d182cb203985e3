"""Which days of a reader an upstream reaches, from the contracts alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from lakehouse.changes import Edge, Reach, edges_of, unread, unstated
from lakehouse.contracts import Declarations
from lakehouse.tables import Column, Follow, Strategy, Table, TableName


def named(text: str) -> TableName:
    return TableName.parse(text)


def table(name: str, *columns: str, window: str | None = None, key: str = "") -> Table:
    """Columns as "name" (a long) or "name:type"."""
    pairs = [column.partition(":") for column in columns]
    return Table(
        named(name),
        "test",
        "",
        tuple(Column(of, kind or "long", required=True) for of, _, kind in pairs),
        Path(f"{name}.yaml"),
        primary_key=tuple(key.split()),
        window_column=window,
        window_start=date(2026, 1, 1) if window else None,
        strategy=Strategy.OVERWRITE if window else Strategy.REPLACE,
    )


ORDERS = table("silver.orders", "order_id", "day:date", window="day", key="order_id")
SHIPMENTS = table("silver.shipments", "shipment_id", "day:date", window="day", key="shipment_id")
ITEMS = table("silver.items", "item_id", "order_id", key="item_id")
RATES = table("bronze.rates", "currency:string", "rate")
READER = table("gold.sales", "order_id", "day:date", window="day", key="order_id")
ALL = (ORDERS, SHIPMENTS, ITEMS, RATES, READER)


def reaches(reader: Table, *parents: str, tables: tuple[Table, ...] = ALL) -> dict[str, Reach]:
    return {str(edge.upstream): edge.reach for edge in edges(reader, *parents, tables=tables)}


def edges(reader: Table, *parents: str, tables: tuple[Table, ...] = ALL) -> tuple[Edge, ...]:
    return edges_of(reader, map(named, parents), Declarations(tables))


def test_a_table_of_the_same_days_reaches_the_same_day() -> None:
    (edge,) = edges(READER, "silver.orders")

    assert (edge.reach, edge.sql, edge.assumed, edge.start) == (Reach.SAME_DAY, "", False, date(2026, 1, 1))


def test_a_day_of_another_name_may_be_another_day() -> None:
    other = table("silver.shipped", "order_id", "shipped_day:date", window="shipped_day", key="order_id")
    tables = (*ALL, other)

    (edge,) = edges(READER, "silver.shipped", tables=tables)
    assert (edge.reach, edge.assumed) == (Reach.EVERY, True)

    stating = replace(READER, follows=(Follow(other.name, Reach.SAME_DAY),))
    (edge,) = edges(stating, "silver.shipped", tables=tables)
    assert (edge.reach, edge.assumed) == (Reach.SAME_DAY, False)


def test_rows_with_the_key_of_a_daily_table_reach_the_days_of_its_rows() -> None:
    by_day, by_key = sorted(edges(READER, "silver.orders", "silver.items"), key=lambda edge: edge.reach)

    assert (by_key.upstream, by_key.reach, by_key.tables) == (ORDERS.name, Reach.SAME_DAY, ())
    assert (by_day.upstream, by_day.reach, by_day.tables) == (ITEMS.name, Reach.BY_KEY, (ORDERS.name,))
    assert not by_day.assumed


@pytest.mark.parametrize(
    "items",
    [
        table("silver.items", "item_id", "order_id:string", key="item_id"),
        table("silver.items", "item_id", "number", key="item_id"),
    ],
    ids=["another type", "another name"],
)
def test_what_only_looks_like_a_key_is_none(items: Table) -> None:
    _, by_items = reversed(edges(READER, "silver.orders", "silver.items", tables=(ORDERS, items, READER)))

    assert (by_items.reach, by_items.assumed) == (Reach.EVERY, True)


def test_rows_with_keys_of_two_daily_tables_reach_the_days_of_both() -> None:
    parcels = table("silver.parcels", "order_id", "shipment_id")
    parents = ("silver.orders", "silver.shipments", "silver.parcels")

    found = {edge.upstream: edge for edge in edges(READER, *parents, tables=(*ALL, parcels))}

    assert found[parcels.name].tables == (ORDERS.name, SHIPMENTS.name)
    assert " union " in found[parcels.name].sql


def test_the_key_of_a_table_of_other_days_says_nothing() -> None:
    other = table("silver.shipped", "order_id", "shipped_day:date", window="shipped_day", key="order_id")

    found = reaches(READER, "silver.shipped", "silver.items", tables=(*ALL, other))

    assert found == {"silver.shipped": Reach.EVERY, "silver.items": Reach.EVERY}


def test_what_the_contract_states_counts() -> None:
    sql = "select day from changes join silver.orders using (order_id)"
    stating = replace(
        READER,
        follows=(
            Follow(ORDERS.name, Reach.NONE),
            Follow(ITEMS.name, Reach.BY_SQL, sql, (ORDERS.name,)),
            Follow(RATES.name, Reach.EVERY),
        ),
    )

    found = {edge.upstream: edge for edge in edges(stating, "silver.orders", "silver.items", "bronze.rates")}

    assert [found[name].reach for name in (ORDERS.name, ITEMS.name, RATES.name)] == ["none", "by SQL", "every day"]
    assert (found[ITEMS.name].sql, found[ITEMS.name].tables) == (sql, (ORDERS.name,))
    assert not any(edge.assumed for edge in found.values())


def test_of_what_nothing_is_known_every_day_is_assumed() -> None:
    (edge,) = edges(READER, "bronze.rates")
    assert (edge.reach, edge.assumed) == (Reach.EVERY, True)

    (edge,) = edges(READER, "bronze.undeclared")
    assert (edge.reach, edge.assumed) == (Reach.EVERY, True)


def test_a_table_does_not_follow_itself() -> None:
    assert reaches(READER, "gold.sales", "silver.orders") == {"gold.sales": Reach.NONE, "silver.orders": Reach.SAME_DAY}


def test_an_upstream_that_is_read_in_two_ways_is_one_edge() -> None:
    assert len(edges(READER, "silver.orders", "silver.orders")) == 1


def test_only_a_table_whose_days_are_computed_anew_is_a_reader() -> None:
    parents = {table.name: frozenset({RATES.name}) for table in (READER, ITEMS)}

    def readers(*tables: Table) -> list[TableName]:
        return [edge.reader for edge in unstated(Declarations(tables), parents)]

    assert readers(READER, ITEMS) == [READER.name]
    assert readers(replace(READER, strategy=Strategy.APPEND), ITEMS) == []


def test_what_nobody_has_stated_is_found() -> None:
    tables = Declarations(ALL)
    parents = {READER.name: frozenset({ORDERS.name, ITEMS.name, RATES.name}), ITEMS.name: frozenset({RATES.name})}

    assert [(edge.reader, edge.upstream) for edge in unstated(tables, parents)] == [(READER.name, RATES.name)]
    stated = Declarations([*ALL[:-1], replace(READER, follows=(Follow(RATES.name, Reach.EVERY),))])
    assert unstated(stated, parents) == ()


def test_what_is_stated_in_vain_is_found() -> None:
    stated = Declarations([*ALL[:-1], replace(READER, follows=(Follow(RATES.name, Reach.EVERY),))])

    assert unread(stated, {READER.name: frozenset({ORDERS.name, RATES.name})}) == ()
    (edge,) = unread(stated, {READER.name: frozenset({ORDERS.name})})
    assert (edge.reader, edge.upstream) == (READER.name, RATES.name)
