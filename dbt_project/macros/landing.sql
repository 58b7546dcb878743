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
