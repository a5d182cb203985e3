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
        -- What it was like before the first load nobody knows: the first version known holds from the sign-up on.
        case
            when lag(updated_at) over (partition by customer_id order by updated_at) is null then created_at
            else updated_at
        end as valid_from,
        lead(updated_at) over (partition by customer_id order by updated_at) as valid_to
    from compared
    where changed
)

select
    md5(concat_ws('|', customer_id, epoch_us(valid_from))) as customer_key,
    customer_id,
    name,
    email,
    phone,
    address,
    city,
    country,
    tier,
    valid_from,
    valid_to,
    valid_to is null as is_current
from versions
