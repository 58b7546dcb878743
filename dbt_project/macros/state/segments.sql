{# Segments that `cbp cluster` wrote; a home without any has the empty file. #}
{% macro segments_file() -%}
    read_parquet('{{ home_folder() }}/segments/customers.parquet')
{%- endmacro %}
