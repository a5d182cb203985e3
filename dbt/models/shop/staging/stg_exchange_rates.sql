-- One rate a day and currency: the one that was read last, for a provider may correct itself.
select
    date,
    currency,
    rate_to_eur
from {{ source('bronze', 'exchange_rates') }}
qualify row_number() over (partition by date, currency order by _extracted_at desc) = 1
