-- Current state: the latest version of each customer, of those that anything was loaded about since.
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
where {{ in_changes('customer_id', source('bronze', 'customers')) }}
qualify row_number() over (partition by customer_id order by updated_at desc, _extracted_at desc) = 1
