{# A feature model's Parquet file: written aside, then renamed, so that a reader sees the old one or the new one. #}
{% macro copy_feature_to_parquet(relation) -%}
    copy (select * from {{ relation }} order by event_timestamp)
    to '{{ home_folder() }}/features/.{{ relation.identifier }}.incoming' (format parquet, compression zstd)
{%- endmacro %}

{% macro publish_feature(relation) -%}
    select publish_feature('{{ relation.identifier }}')
{%- endmacro %}

{# Leaves the manifest in the home, wherever dbt writes its artefacts. #}
{% macro publish_manifest() -%}
    select publish_manifest('{{ flags.TARGET_PATH or 'target' }}')
{%- endmacro %}
