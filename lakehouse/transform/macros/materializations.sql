{# dbt compiles, lakehouse/transform/write.py writes. The plugin is reached through the one public channel there is. #}

{% macro into_lake(operation) %}
  {%- set target_relation = this.incorporate(type='view') -%}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {%- set result = {} -%}
  {%- do adapter.store_relation('lake', target_relation, [], '', operation,
       {'sql': model.compiled_code, 'unique_id': model.unique_id, 'result': result}) -%}
  {%- call noop_statement(name='main', message=result['message'], code='OK', rows_affected=result['rows']) -%}
    {{ model.compiled_code }}
  {%- endcall -%}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {{ adapter.commit() }}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [target_relation]}) }}
{% endmacro %}

{% materialization iceberg, adapter='duckdb', supported_languages=['sql'] %}
  {{ return(into_lake('iceberg')) }}
{% endmaterialization %}

{# A view of dbt-duckdb lives as long as its process; ours is kept in the catalog database too. #}
{% materialization view, adapter='duckdb', supported_languages=['sql'] %}
  {{ return(into_lake('view')) }}
{% endmaterialization %}

{# What stock dbt-duckdb would build in memory and lose when the process ends. #}
{% macro refuse_materialization() %}
  {{ exceptions.raise_compiler_error(
      "model " ~ model.name ~ " is materialized as " ~ config.get('materialized') ~ " (" ~ model.language ~ "): its rows would "
      ~ "be lost with dbt's process. Declare the table in a contract and write it as SQL, or make it a view.") }}
{% endmacro %}

{% materialization table, adapter='duckdb', supported_languages=['sql', 'python'] %}
  {{ refuse_materialization() }}
{% endmaterialization %}

{% materialization incremental, adapter='duckdb', supported_languages=['sql', 'python'] %}
  {{ refuse_materialization() }}
{% endmaterialization %}

{% materialization external, adapter='duckdb', supported_languages=['sql', 'python'] %}
  {{ refuse_materialization() }}
{% endmaterialization %}

{% materialization seed, adapter='duckdb' %}
  {{ refuse_materialization() }}
{% endmaterialization %}

{% materialization snapshot, adapter='duckdb' %}
  {{ refuse_materialization() }}
{% endmaterialization %}
