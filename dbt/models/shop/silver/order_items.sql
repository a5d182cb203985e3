-- Current state: the latest version of each line, of those that anything was loaded about since.
select
    order_item_id,
    order_id,
    product_id,
    quantity,
    unit_price,
    discount,
    created_at,
    updated_at
from {{ ref('stg_order_items') }}
where {{ in_changes('order_item_id', source('bronze', 'order_items')) }}
qualify row_number() over (partition by order_item_id order by updated_at desc, _extracted_at desc) = 1
