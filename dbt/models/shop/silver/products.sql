-- Current state: the latest version of each product, of those that anything was loaded about since.
select
    product_id,
    name,
    category,
    price,
    created_at,
    updated_at
from {{ ref('stg_products') }}
where {{ in_changes('product_id', source('bronze', 'products')) }}
qualify row_number() over (partition by product_id order by updated_at desc, _extracted_at desc) = 1
