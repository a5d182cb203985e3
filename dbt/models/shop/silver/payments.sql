-- A payment that was delivered twice, in one file or in two, counts once: as it was delivered first.
select
    payment_id,
    order_id,
    amount,
    currency,
    method,
    paid_at
from {{ ref('stg_payments') }}
qualify row_number() over (partition by payment_id order by _extracted_at, _source) = 1
