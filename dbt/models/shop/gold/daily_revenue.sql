-- Cancelled orders are counted, and are in no other figure.
with orders as (
    select
        *,
        status = 'cancelled' as is_cancelled
    from {{ ref('fct_orders') }}
    where {{ in_window('order_date') }}
)

select
    order_date,
    count(*) as orders,
    count_if(is_cancelled) as cancelled,
    count(distinct customer_id) filter (where not is_cancelled) as customers,
    coalesce(sum(pieces) filter (where not is_cancelled), 0) as pieces,
    count_if(not is_cancelled and rate_to_eur is null) as orders_without_rate,
    coalesce(sum(gross_eur) filter (where not is_cancelled), 0) as revenue_eur,
    coalesce(sum(paid_eur) filter (where not is_cancelled), 0) as paid_eur
from orders
group by order_date
