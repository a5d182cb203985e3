-- Every version of every customer, each once: a version that was loaded twice counts as one.
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
    updated_at
from {{ source('bronze', 'customers') }}
qualify row_number() over (partition by customer_id, updated_at order by _extracted_at desc) = 1
