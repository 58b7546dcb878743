{# Hook, after the commit: shows readers a feature model's rows as Parquet files, all old or all new. #}
{% macro publish_feature(relation) -%}
    select publish_feature('{{ relation }}', '{{ relation.identifier }}')
{%- endmacro %}

{# Leaves the manifest in the home, wherever dbt writes its artefacts. #}
{% macro publish_manifest() -%}
    select publish_manifest('{{ flags.TARGET_PATH or 'target' }}')
{%- endmacro %}
