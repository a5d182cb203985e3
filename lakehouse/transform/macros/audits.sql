{# The audit between a model and its children: dbt only asks for it. The process that started dbt judges the contract's
   rules (`transform/audits.py`), and as many rows come back as blocking rules are broken. By hand nothing is asked. #}
{% test audit(model, reads=none) %}
select * from range({{ broken_rules() }})
{% endtest %}

{# `reads` above is for dbt's graph alone: what it refers to is built before the audit is asked for. #}
{% macro broken_rules() %}
  {%- set result = {'broken': 0} -%}
  {%- if execute and invocation_args_dict.which in ('build', 'test') -%}
    {%- do adapter.store_relation('lake', none, [], '', 'audit', {'unique_id': model.unique_id, 'result': result}) -%}
  {%- endif -%}
  {{- return(result['broken']) -}}
{% endmacro %}
