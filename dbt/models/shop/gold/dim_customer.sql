-- What each customer was like from when on. What it was like before the first load nobody knows, so the first state that is
-- known holds from created_at on. All states of a customer are told whenever one of them comes.
with states as (
    select * from {{ ref('stg_customers') }}
    where {{ in_changes('customer_id', source('bronze', 'customers')) }}
    qualify row_number() over (partition by customer_id, updated_at order by _extracted_at desc) = 1
)

select
    customer_id,
    name,
    email,
    phone,
    address,
    city,
    country,
    tier,
    case when row_number() over (partition by customer_id order by updated_at) = 1 then created_at else updated_at end
        as valid_from
from states
