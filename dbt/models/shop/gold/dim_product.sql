{{ scd2(ref('stg_products'), key='product_id', attributes=['name', 'category', 'price'], surrogate_key='product_key') }}
