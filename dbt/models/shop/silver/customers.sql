-- Current state: the latest version of each customer.
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
from {{ ref('stg_customers') }}
qualify row_number() over (partition by customer_id order by updated_at desc) = 1
