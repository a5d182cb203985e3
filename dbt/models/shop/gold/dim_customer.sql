-- SCD2: a row for each time a described attribute changed, valid from that change to the next.
with compared as (
    select
        *,
        row(name, email, phone, address, city, country, tier) is distinct from lag(
            row(name, email, phone, address, city, country, tier)
        ) over (partition by customer_id order by updated_at) as changed
    from {{ ref('stg_customers') }}
),

versions as (
    select
        *,
        lead(updated_at) over (partition by customer_id order by updated_at) as next_version_at
    from compared
    where changed
)

select
    md5(concat_ws('|', customer_id, epoch_us(updated_at))) as customer_key,
    customer_id,
    name,
    email,
    phone,
    address,
    city,
    country,
    tier,
    updated_at as valid_from,
    next_version_at as valid_to,
    next_version_at is null as is_current
from versions
