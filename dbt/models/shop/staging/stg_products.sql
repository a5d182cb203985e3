-- Every version of every product, each once: a version that was loaded twice counts as one.
select
    product_id,
    name,
    category,
    price,
    created_at,
    updated_at
from {{ source('bronze', 'products') }}
qualify row_number() over (partition by product_id, updated_at order by _extracted_at desc) = 1
