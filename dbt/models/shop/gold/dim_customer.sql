{{ scd2(
    ref('stg_customers'),
    key='customer_id',
    attributes=['name', 'email', 'phone', 'address', 'city', 'country', 'tier'],
    surrogate_key='customer_key'
) }}
