-- Current state of the orders of the days asked for: order_date is fixed at birth, so that a day is complete in itself.
select
    order_id,
    customer_id,
    order_date,
    status,
    currency,
    created_at,
    updated_at
from {{ ref('stg_orders') }}
where {{ in_window('order_date') }}
qualify row_number() over (partition by order_id order by updated_at desc, _extracted_at desc) = 1
