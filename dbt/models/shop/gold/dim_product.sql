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
        lead(updated_at) over (partition by product_id order by updated_at) as next_version_at
    from compared
    where changed
)

select
    md5(concat_ws('|', product_id, epoch_us(updated_at))) as product_key,
    product_id,
    name,
    category,
    price,
    updated_at as valid_from,
    next_version_at as valid_to,
    next_version_at is null as is_current
from versions
