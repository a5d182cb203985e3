{# The rows whose keys changed in a table of the lake since this model was last built, as a predicate: of a model that enters
   its table by key, so that it has to yield only the keys that are touched, each with all rows that count for it. `columns`
   are the key, one or several, called there as they are here. What the function that a run gets stands for is
   `transform/changed_rows.py`; by hand, and where code is tested and not data, all rows are meant. #}
{% macro in_changes(columns, relation) %}
  {%- if not execute or model.resource_type != 'model' -%}{{- return('true') -}}{%- endif -%}
  {%- if (config.get('meta') or {}).get('strategy') not in ('merge', 'delete+insert', 'scd2') -%}
    {{- exceptions.raise_compiler_error(
      "model " ~ model.name ~ " uses in_changes, which yields a part of its rows: say in its contract how they enter the "
      ~ "table, by strategy merge, delete+insert or scd2") -}}
  {%- endif -%}
  {%- if relation.schema not in ('bronze', 'silver', 'gold') -%}
    {{- exceptions.raise_compiler_error(
      "model " ~ model.name ~ " uses in_changes of " ~ relation.schema ~ "." ~ relation.identifier ~ ", which is a view: "
      ~ "name the table that it reads, as source('bronze', ...) or ref(...) of a table in silver or gold") -}}
  {%- endif -%}
  {%- if invocation_args_dict.which not in ('build', 'run') -%}{{- return('true') -}}{%- endif -%}
  {%- set columns = [columns] if columns is string else columns -%}
  {%- set names = [] -%}
  {%- for column in columns -%}{%- do names.append(column.split('.')[-1] | replace('"', '')) -%}{%- endfor -%}
  "changes of {{ relation.schema }}.{{ relation.identifier }} by {{ names | join(', ') }}"({{ columns | join(', ') }})
{%- endmacro %}
