{#
    Hook, after the commit: shows readers a feature model's rows as Parquet files, all old or all new. Of a model that is built
    incrementally, only what the ledger holds to be unpublished is read again.
#}
{% macro publish_feature(relation) -%}
    select publish_feature('{{ relation }}', '{{ relation.identifier }}', {{ _unpublished_from_us(relation.identifier) }});
    delete from ledger.unpublished where model = '{{ relation.identifier }}'
{%- endmacro %}

{% macro _unpublished_from_us(model_name) -%}
    {%- if model.config.materialized == 'table' -%}
    -{{ end_of_time_us() }}
    {%- else -%}
    coalesce((select min(from_us) from ledger.unpublished where model = '{{ model_name }}'), {{ end_of_time_us() }})
    {%- endif -%}
{%- endmacro %}

{# Leaves the manifest in the home, wherever dbt writes its artefacts. #}
{% macro publish_manifest() -%}
    select publish_manifest('{{ flags.TARGET_PATH or 'target' }}')
{%- endmacro %}
