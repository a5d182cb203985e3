{# A slowly changing dimension of type 2 from a history in which every row is a state as of `updated_at`: a row for each time
   one of `attributes` changed, valid from that change to the next. What it was like before the first load nobody knows, so
   the first version known holds from `created_at` on. The surrogate key is the hash of key and valid_from. #}
{% macro scd2(history, key, attributes, surrogate_key, updated_at='updated_at', created_at='created_at') %}
with compared as (
    select
        *,
        row({{ attributes | join(', ') }}) is distinct from lag(row({{ attributes | join(', ') }})) over history as changed
    from {{ history }}
    window history as (partition by {{ key }} order by {{ updated_at }})
),

versions as (
    select
        *,
        case when lag({{ updated_at }}) over versions is null then {{ created_at }} else {{ updated_at }} end as valid_from,
        lead({{ updated_at }}) over versions as valid_to
    from compared
    where changed
    window versions as (partition by {{ key }} order by {{ updated_at }})
)

select
    md5(concat_ws('|', {{ key }}, epoch_us(valid_from))) as {{ surrogate_key }},
    {{ key }},
    {{ attributes | join(',\n    ') }},
    valid_from,
    valid_to,
    valid_to is null as is_current
from versions
{% endmacro %}
