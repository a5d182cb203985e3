{# What contracts state, as tests; `transform/render.py` uses these beside dbt's own `unique`, `not_null`, `relationships`. #}

{# A row is good where the expression is true or NULL, as in a SQL CHECK. #}
{% test expression_is_true(model, expression, column_name=none) %}
select * from {{ model }} where not ({{ expression }})
{% endtest %}

{# A query of what is wrong, complete in itself. #}
{% test no_rows(model, query, column_name=none) %}
{{ query }}
{% endtest %}
