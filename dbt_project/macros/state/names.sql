{# A model's schema is its layer's name, the same in every home. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name or target.schema }}
{%- endmacro %}

{# Folder of this home's runtime state. #}
{% macro home_folder() -%}
    {{ env_var('CBP_HOME', 'data') }}
{%- endmacro %}
