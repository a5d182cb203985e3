{# models/<domain>/<schema>/<model>.sql: the folder is the layer, the dbt schema and the Iceberg namespace. #}
{% macro generate_schema_name(custom_schema_name, node) %}
  {{- return(custom_schema_name or (node.fqn[-2] if node is not none and node.fqn | length > 2 else target.schema)) -}}
{% endmacro %}
