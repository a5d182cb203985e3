-- Current state: the latest version of each product.
select
    product_id,
    name,
    category,
    price,
    created_at,
    updated_at
from {{ ref('stg_products') }}
qualify row_number() over (partition by product_id order by updated_at desc) = 1
