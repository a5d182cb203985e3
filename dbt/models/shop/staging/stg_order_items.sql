select
    order_item_id,
    order_id,
    product_id,
    quantity,
    unit_price,
    discount,
    created_at,
    updated_at,
    _extracted_at
from {{ source('bronze', 'order_items') }}
