"""Defects of the project's own SQL: somebody edits a model."""

from __future__ import annotations

from collections.abc import Callable

from assets_tests.defects.defect import NEW_DAY, Defect, date
from assets_tests.defects.world import World


def edit(model: str, old: str, new: str) -> Callable[[World], None]:
    """Replace a piece of a model's SQL."""
    return lambda world: world.change_model(model, old, new)


MODELS = (
    Defect(
        "Sums that do not add up",
        "daily_revenue sums amounts that were never converted to EUR",
        edit("gold/daily_revenue", "coalesce(sum(gross_eur)", "coalesce(sum(gross)"),
        f"select count(*) from gold.daily_revenue r where order_date = {date(NEW_DAY)} and revenue_eur <>"
        " (select coalesce(sum(gross_eur), 0) from gold.fct_orders f"
        " where f.order_date = r.order_date and status <> 'cancelled')",
    ),
    Defect(
        "Fan-out of a join",
        "fct_orders joins the lines themselves, and counts an order's worth once a line",
        edit(
            "gold/fct_orders",
            "left join items on rated.order_id = items.order_id",
            "left join items on rated.order_id = items.order_id\nleft join {{ ref('order_items') }} as line"
            " on line.order_id = rated.order_id",
        ),
        "select count(*) - count(distinct order_id) from gold.fct_orders",
    ),
    Defect(
        "Inner join instead of left",
        "fct_orders loses the orders that nobody paid yet",
        edit("gold/fct_orders", "left join payments on", "join payments on"),
        f"select count(*) from gold.daily_revenue where order_date = {date(NEW_DAY)}",
    ),
    Defect(
        "Wrong column summed",
        "fct_orders forgets the discount",
        edit(
            "gold/fct_orders",
            "sum(round(quantity * unit_price * (1 - discount), 2))",
            "sum(round(quantity * unit_price, 2))",
        ),
        "select count(*) from gold.fct_orders f where gross <> (select sum(round(quantity * unit_price *"
        " (1 - discount), 2)) from silver.order_items i where i.order_id = f.order_id)",
    ),
    Defect(
        "The oldest version, not the latest",
        "silver.orders orders its versions the wrong way round",
        edit("silver/orders", "order by updated_at desc", "order by updated_at"),
        f"select count(*) from silver.orders where status = 'placed' and order_date < {date(3)}",
    ),
    Defect(
        "Rows filtered out",
        "silver.payments leaves out what is above 500",
        edit("silver/payments", "where {{", "where amount < 500 and {{"),
        "select count(*) from (select _run_key from bronze.payments as loaded"
        " left join silver.payments as kept on kept.payment_id = loaded.payment_id"
        " group by _run_key having count(kept.payment_id) not in (0, count(*)))",
    ),
    Defect(
        "Duplicates not removed",
        "silver.orders keeps every version",
        edit(
            "silver/orders",
            "qualify row_number() over (partition by order_id order by updated_at desc, _extracted_at desc) = 1",
            "",
        ),
        "select count(*) - count(distinct order_id) from silver.orders",
    ),
    Defect(
        "A dimension forgets",
        "dim_customer knows only the customers of Germany",
        edit("gold/dim_customer", "where {{", "where country = 'DE' and {{"),
        "select count(*) from silver.customers"
        f" where (select max(valid_from) from gold.dim_customer) >= {date(NEW_DAY)}"
        " and customer_id not in (select customer_id from gold.dim_customer)",
    ),
)
