select
    payment_id,
    order_id,
    amount,
    currency,
    method,
    paid_at,
    _extracted_at,
    _source
from {{ source('bronze', 'payments') }}
