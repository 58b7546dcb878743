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
