-- What each product was like from when on. What it was like before the first load nobody knows, so the first state that is
-- known holds from created_at on. All states of a product are told whenever one of them comes.
with states as (
    select * from {{ ref('stg_products') }}
    where {{ in_changes('product_id', source('bronze', 'products')) }}
    qualify row_number() over (partition by product_id, updated_at order by _extracted_at desc) = 1
)

select
    product_id,
    name,
    category,
    price,
    case when row_number() over (partition by product_id order by updated_at) = 1 then created_at else updated_at end
        as valid_from
from states
