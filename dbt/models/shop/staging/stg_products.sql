-- Every version of every product, as often as it was loaded.
select
    product_id,
    name,
    category,
    price,
    created_at,
    updated_at,
    _extracted_at
from {{ source('bronze', 'products') }}
