-- A plain projection: a window over order_date must reach the files of bronze, and would not pass a window function.
select
    order_id,
    customer_id,
    order_date,
    status,
    currency,
    created_at,
    updated_at,
    _extracted_at
from {{ source('bronze', 'orders') }}
