-- One row per order. Amounts in EUR take the latest rate known on or before the order's day; EUR is 1.
with orders as (
    select * from {{ ref('orders') }}
    where {{ in_window('order_date') }}
),

rated as (
    select
        orders.*,
        case when orders.currency = 'EUR' then 1 else rates.rate_to_eur end as rate_to_eur
    from orders
    asof left join {{ ref('stg_exchange_rates') }} as rates
        on orders.currency = rates.currency and orders.order_date >= rates.date
),

items as (
    select
        order_id,
        count(*) as items,
        sum(quantity) as pieces,
        sum(round(quantity * unit_price * (1 - discount), 2)) as gross
    from {{ ref('order_items') }}
    where order_id in (select order_id from orders)
    group by order_id
),

payments as (
    select
        order_id,
        currency,
        sum(amount) as paid
    from {{ ref('payments') }}
    where order_id in (select order_id from orders)
    group by order_id, currency
)

select
    rated.order_id,
    rated.customer_id,
    customers.customer_key,
    rated.order_date,
    rated.status,
    rated.currency,
    coalesce(items.items, 0) as items,
    coalesce(items.pieces, 0) as pieces,
    coalesce(items.gross, 0) as gross,
    coalesce(payments.paid, 0) as paid,
    rated.rate_to_eur,
    round(coalesce(items.gross, 0) * rated.rate_to_eur, 2) as gross_eur,
    round(coalesce(payments.paid, 0) * rated.rate_to_eur, 2) as paid_eur,
    rated.created_at,
    rated.updated_at
from rated
left join items on rated.order_id = items.order_id
left join payments on rated.order_id = payments.order_id and rated.currency = payments.currency
left join {{ ref('dim_customer') }} as customers
    on rated.customer_id = customers.customer_id
    and rated.created_at >= customers.valid_from
    and rated.created_at < coalesce(customers.valid_to, timestamptz 'infinity')
