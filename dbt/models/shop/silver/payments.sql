-- A payment that was delivered twice, in one file or in two, counts once: as it was delivered first.
-- All deliveries of a payment are read whenever one of them comes, in whatever order.
select
    payment_id,
    order_id,
    amount,
    currency,
    method,
    paid_at
from {{ ref('stg_payments') }}
where {{ in_changes('payment_id', source('bronze', 'payments')) }}
qualify row_number() over (partition by payment_id order by _extracted_at, _source) = 1
