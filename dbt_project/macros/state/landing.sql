{# Parquet files of one kind in every landed batch; a landing has at least the empty batch `000000-schema`. #}
{% macro landed(kind) -%}
    read_parquet(
        '{{ home_folder() }}/landing/*/{{ kind }}.parquet',
        filename = true,
        union_by_name = true
    )
{%- endmacro %}

{# The batch's folder name, from its file's path: batches sort in the order in which they landed. #}
{% macro batch_of(filename) -%}
    split_part({{ filename }}, '/', -2)
{%- endmacro %}

{# The newest batch of a relation, as a literal: files of older batches are not even opened. #}
{% macro newest_batch(relation) -%}
    {%- set found = run_query("select coalesce(max(batch), '') from " ~ relation) if execute -%}
    '{{ found.columns[0].values()[0] if execute }}'
{%- endmacro %}

{# Before anything is built: what the API scored, and the labels it was told, land as a batch like any file. #}
{% macro land_scored() %}
    {% if execute and flags.WHICH in ('run', 'build') %}
        {% set landed = run_query("select land_scored()").columns[0].values()[0] %}
        {% if landed %}
            {% do log(landed, info=true) %}
        {% endif %}
    {% endif %}
{% endmacro %}
