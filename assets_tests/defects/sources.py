"""Defects of the shop's database and of the rates API."""

from __future__ import annotations

from assets_tests.defects.defect import KEPT_DAY, NEW_DAY, Defect, date, moment, statements
from assets_tests.defects.world import Row, World
from lakehouse.demo.calendar import day_of

NEW_ORDERS = f"select order_id from orders where order_date = {date(NEW_DAY)}"
TODAY = moment(NEW_DAY)


def _double(rates: list[Row]) -> list[Row]:
    """Dollars to the euro, instead of euros to the dollar."""
    return [
        {**row, "rate_to_eur": f"{1 / float(row['rate_to_eur']):.6f}"} if row["currency"] == "USD" else row
        for row in rates
    ]


def _inverted(world: World) -> None:
    world.api.spoil = _double


def _without_crowns(world: World) -> None:
    world.api.spoil = lambda rates: [row for row in rates if row["currency"] != "SEK"]


def _without_a_day(world: World) -> None:
    missing = day_of(NEW_DAY).isoformat()
    world.api.spoil = lambda rates: [row for row in rates if row["date"] != missing]


SOURCES = (
    Defect(
        "NULL where a value must be",
        "Three of the day's orders lose their currency",
        statements(
            f"update orders set currency = null where order_id in ({NEW_ORDERS} order by 1 limit 3)",
            loosen=("orders",),
        ),
        "select count(*) from silver.orders where currency is null",
    ),
    Defect(
        "NULL in an optional column, everywhere",
        "A migration empties the e-mail address of every fifth customer",
        statements(
            f"update customers set email = null, updated_at = {TODAY} where customer_id % 5 = 0", loosen=("customers",)
        ),
        "select (select count(*) from silver.customers where email is null)"
        " + (select count(*) from gold.dim_customer where email is null)",
    ),
    Defect(
        "Rows twice",
        "The database lost its primary key: each of the day's orders is there twice",
        statements(
            f"insert into orders select * from orders where order_date = {date(NEW_DAY)}",
            loosen=("order_items", "orders"),
        ),
        "select count(*) - count(distinct order_id) from silver.orders",
    ),
    Defect(
        "The same orders under new numbers",
        "An import runs twice: each of the day's orders, and each of its lines, is there again with another number",
        statements(
            "insert into order_items select order_item_id + 90000000, order_id + 9000000, product_id, quantity,"
            f" unit_price, discount, created_at, updated_at from order_items where order_id in ({NEW_ORDERS})",
            "insert into orders select order_id + 9000000, customer_id, order_date, status, currency, created_at,"
            f" updated_at from orders where order_date = {date(NEW_DAY)}",
            loosen=("order_items", "orders"),
        ),
        "select count(*) from gold.fct_orders where order_id > 9000000",
    ),
    Defect(
        "Out of range",
        "Two lines have the quantity 0",
        statements(
            "update order_items set quantity = 0 where order_item_id in (select order_item_id from order_items"
            f" where order_id in ({NEW_ORDERS}) order by 1 limit 2)",
            loosen=("order_items",),
        ),
        "select count(*) from silver.order_items where quantity < 1",
    ),
    Defect(
        "Unknown value",
        "The shop invents the status 'returned' and tells nobody",
        statements(
            f"update orders set status = 'returned', updated_at = {TODAY}"
            f" where order_id in (select order_id from orders where order_date = {date(2)} order by 1 limit 4)",
            loosen=("orders",),
        ),
        "select count(*) from silver.orders where status = 'returned'",
    ),
    Defect(
        "Case and spaces",
        "Two orders say ' eur' instead of 'EUR'",
        statements(
            "update orders set currency = ' eur'"
            f" where order_id in ({NEW_ORDERS} and currency = 'EUR' order by 1 limit 2)",
            loosen=("orders",),
        ),
        "select count(*) from silver.orders where currency <> upper(trim(currency))",
    ),
    Defect(
        "Stray spaces in text",
        "Two customers' names end with a space",
        statements(
            f"update customers set name = name || ' ', updated_at = {TODAY} where customer_id in (1, 2)",
        ),
        "select count(*) from silver.customers where name <> trim(name)",
    ),
    Defect(
        "Broken reference, a few",
        "Three orders are of customers who do not exist",
        statements(
            f"update orders set customer_id = 999999 where order_id in ({NEW_ORDERS} order by 1 limit 3)",
            loosen=("orders",),
        ),
        "select count(*) from silver.orders where customer_id = 999999",
    ),
    Defect(
        "Parents deleted",
        "The shop deletes products, and sells them on the same day: nobody ever saw them",
        statements(
            "update order_items set product_id = 900000 + product_id"
            f" where order_id in ({NEW_ORDERS}) and product_id <= 20",
            loosen=("order_items",),
        ),
        "select count(*) from silver.order_items where product_id > 900000",
    ),
    Defect(
        "Stale source",
        "The replica that orders are read from stands still for two days",
        statements(
            "delete from order_items where"
            f" order_id in (select order_id from orders where order_date > {date(KEPT_DAY)})",
            f"delete from orders where order_date > {date(KEPT_DAY)}",
            f"update orders set updated_at = {moment(KEPT_DAY)} where updated_at > {moment(KEPT_DAY, 23)}",
        ),
        "select count(*) from silver.payments where cast(paid_at as date) > "
        f"{date(KEPT_DAY)} and order_id not in (select order_id from silver.orders)",
        days=2,
    ),
    Defect(
        "Most rows missing",
        "Three of four orders of the day are not there, nor are their lines",
        statements(
            f"delete from order_items where order_id in ({NEW_ORDERS}) and order_id % 4 <> 0",
            f"delete from orders where order_date = {date(NEW_DAY)} and order_id % 4 <> 0",
        ),
        f"select count(*) from silver.orders where order_date = {date(NEW_DAY)}",
    ),
    Defect(
        "A day missing",
        "All orders of a day are not there, those of the next are",
        statements(
            f"delete from order_items where order_id in ({NEW_ORDERS})",
            f"delete from orders where order_date = {date(NEW_DAY)}",
        ),
        f"select count(*) from silver.orders where order_date > {date(NEW_DAY)}",
        days=2,
    ),
    Defect(
        "Lines missing",
        "One order line of two is not there; the orders are",
        statements(f"delete from order_items where order_id in ({NEW_ORDERS}) and order_item_id % 2 = 0"),
        f"select count(*) from gold.fct_orders where order_date = {date(NEW_DAY)} and paid > gross",
    ),
    Defect(
        "Another type",
        "The price becomes text with a unit: '12.50 EUR'",
        statements(
            "alter table products alter price type text using price || ' EUR'",
            f"update products set updated_at = {TODAY} where product_id % 2 = 0",
        ),
        f"select count(*) from silver.products where updated_at = {TODAY}",
    ),
    Defect(
        "A column renamed",
        "customers.tier is called membership now",
        statements("alter table customers rename tier to membership"),
        f"select count(*) from silver.customers where updated_at > {moment(NEW_DAY, 0)}",
    ),
    Defect(
        "A column more",
        "orders gain a column that the contract does not name",
        statements("alter table orders add note text default 'x'"),
        "select count(*) from information_schema.columns where table_name = 'orders' and column_name = 'note'",
    ),
    Defect(
        "Encoding: mojibake",
        "UTF-8 is read as Latin-1: 'Zo\u00eb' is 'Zo\u00c3\u00ab'",
        statements(
            "update customers set name = convert_from(convert_to(name, 'UTF8'), 'LATIN1'),"
            f" updated_at = {TODAY} where name ~ '[^ -~]'"
        ),
        "select count(*) from silver.customers where name like '%\u00c3%'",
    ),
    Defect(
        "Encoding: replacement characters",
        "A product's name lost a letter to U+FFFD",
        statements(
            f"update products set name = 'Caf\ufffd ' || product_id, updated_at = {TODAY} where product_id = 3",
        ),
        "select count(*) from silver.products where name like '%\ufffd%'",
    ),
    Defect(
        "Time zone: New York taken for UTC",
        "The day's orders are placed five hours too early",
        statements(
            f"update orders set created_at = created_at - interval '5 hours' where order_date = {date(NEW_DAY)}"
        ),
        f"select count(*) from silver.orders where order_date = {date(NEW_DAY)} and hour(created_at) < 6",
    ),
    Defect(
        "Time zone: Tokyo taken for UTC",
        "The day's orders are placed nine hours too late, many of them on the next day",
        statements(
            f"update orders set created_at = created_at + interval '9 hours' where order_date = {date(NEW_DAY)}"
        ),
        "select count(*) from silver.orders where order_date <> cast(created_at as date)",
    ),
    Defect(
        "Dates in the future",
        "Two orders are placed a year from now",
        statements(
            "update orders set created_at = created_at + interval '1 year', order_date = order_date + 365"
            f" where order_id in ({NEW_ORDERS} order by 1 limit 2)"
        ),
        f"select count(*) from silver.orders where order_date > {date(NEW_DAY)}",
    ),
    Defect(
        "Columns swapped",
        "City and country change places for the customers of the day",
        statements(
            f"update customers set city = country, country = city, updated_at = {TODAY} where customer_id <= 6",
        ),
        "select count(*) from silver.customers where length(country) > 2",
    ),
    Defect(
        "Wrong decimal scale: prices",
        "The day's order lines are priced in cents",
        statements(f"update order_items set unit_price = unit_price * 100 where order_id in ({NEW_ORDERS})"),
        f"select count(*) from gold.fct_orders where order_date = {date(NEW_DAY)} and gross > 20 * paid and paid > 0",
    ),
    Defect(
        "Key used again",
        "A customer's number is given to somebody else",
        statements(
            f"update customers set name = 'Somebody Else', email = 'else@example.com', created_at = {TODAY},"
            f" updated_at = {TODAY} where customer_id = 1"
        ),
        "select count(*) from silver.customers where name = 'Somebody Else'",
    ),
    Defect(
        "Status goes back",
        "A restored backup makes delivered orders placed again",
        statements(
            f"update orders set status = 'placed', updated_at = {TODAY} where status = 'delivered' and order_id <= 30"
        ),
        "select count(*) from silver.orders where status = 'placed' and order_id <= 30",
    ),
    Defect(
        "Rates the wrong way round",
        "The API answers dollars for a euro, not euros for a dollar",
        _inverted,
        "select count(*) from gold.fct_orders"
        f" where order_date = {date(NEW_DAY)} and currency = 'USD' and rate_to_eur > 1",
    ),
    Defect(
        "A currency missing",
        "The API has no rate of the Swedish crown today",
        _without_crowns,
        f"select count(*) from gold.fct_orders where order_date = {date(NEW_DAY)} and currency = 'SEK'",
    ),
    Defect(
        "A day of rates missing",
        "The API leaves out a day, and serves the next",
        _without_a_day,
        f"select count(*) from gold.fct_orders where order_date = {date(NEW_DAY)} and currency <> 'EUR'",
        days=2,
    ),
)
