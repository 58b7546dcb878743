{# Microseconds of a window such as 10m, 24h or 30d. #}
{% macro window_us(window) -%}
    {%- set unit_us = {'m': 60000000, 'h': 3600000000, 'd': 86400000000} -%}
    {%- if window[-1] not in unit_us or not window[:-1].isdigit() -%}
        {{ exceptions.raise_compiler_error("expected a window such as 10m, 24h or 30d, got '" ~ window ~ "'") }}
    {%- endif -%}
    {{ return((window[:-1] | int) * unit_us[window[-1]]) }}
{%- endmacro %}

{# Days of a window of whole days. #}
{% macro window_days(window) -%}
    {{ return((window_us(window) / window_us('1d')) | int) }}
{%- endmacro %}

{% macro day_us() -%}
    86400000000
{%- endmacro %}

{# Number of the UTC day (since 1970-01-01) of an instant in microseconds. #}
{% macro day_of(event_us) -%}
    ({{ event_us }} // {{ day_us() }})
{%- endmacro %}

{# An instant in microseconds as a UTC timestamp. #}
{% macro timestamp_of(event_us) -%}
    make_timestamp({{ event_us }})
{%- endmacro %}

{# Up to when the history is whole: the variable as_of_us, else now. #}
{% macro as_of_us() -%}
    {%- if var('as_of_us') is none -%} epoch_us(current_timestamp)
    {%- else -%} {{ var('as_of_us') }}
    {%- endif -%}
{%- endmacro %}

{# Later than any event, and low enough that a window or a day may be added or taken off. #}
{% macro end_of_time_us() -%}
    4611686018427387904
{%- endmacro %}
