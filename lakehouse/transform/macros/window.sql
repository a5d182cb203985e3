{# The days asked for, as a predicate; the whole table when none were. Vars first, so that a unit test can set them;
   a run gives --event-time-start and --event-time-end, which, unlike --vars, leave dbt's partial parse valid. #}
{% macro in_window(column) %}
  {%- set start = var('window_start', none) or invocation_args_dict.get('event_time_start') -%}
  {%- set end = var('window_end', none) or invocation_args_dict.get('event_time_end') -%}
  {%- if start and end -%}
    ({{ column }} >= date '{{ (start | string)[:10] }}' and {{ column }} < date '{{ (end | string)[:10] }}')
  {%- else -%}
    true
  {%- endif -%}
{% endmacro %}
