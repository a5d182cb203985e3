-- Every version of every customer, as often as it was loaded.
select
    customer_id,
    name,
    email,
    phone,
    address,
    city,
    country,
    tier,
    created_at,
    updated_at,
    _extracted_at
from {{ source('bronze', 'customers') }}
