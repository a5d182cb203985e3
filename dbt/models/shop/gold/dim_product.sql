-- SCD2: a row for each time a described attribute changed, valid from that change to the next.
with compared as (
    select
        *,
        row(name, category, price) is distinct from lag(
            row(name, category, price)
        ) over (partition by product_id order by updated_at) as changed
    from {{ ref('stg_products') }}
),

versions as (
    select
        *,
        -- What it was like before the first load nobody knows: the first version known holds from the creation on.
        case
            when lag(updated_at) over (partition by product_id order by updated_at) is null then created_at
            else updated_at
        end as valid_from,
        lead(updated_at) over (partition by product_id order by updated_at) as valid_to
    from compared
    where changed
)

select
    md5(concat_ws('|', product_id, epoch_us(valid_from))) as product_key,
    product_id,
    name,
    category,
    price,
    valid_from,
    valid_to,
    valid_to is null as is_current
from versions
