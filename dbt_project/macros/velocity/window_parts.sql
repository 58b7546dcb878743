{# Parts over history, as window functions: rows strictly before, at most a window ago (law 1). #}

{% macro window_name(entity, window) -%}
    {{ entity }}_{{ window }}
{%- endmacro %}

{# A null key belongs to nobody: its rows are one partition, in which nothing may be counted. #}
{% macro _of_known_entity(entity, expression) -%}
    case when {% for key in var('entities')[entity]['keys'] %}{{ key }} is not null{{ ' and ' if not loop.last }}{% endfor %} then {{ expression }} end
{%- endmacro %}

{% macro window_part(part) -%}
    {%- set over = 'over ' ~ window_name(part.entity, part.window) -%}
    {%- if part.part == 'last' -%}
        cast(max({{ _of_known_entity(part.entity, place_at_time(part.column)) }}) {{ over }} % {{ place_modulus() }} as bigint)
    {%- elif part.part == 'last_us' -%}
        max({{ _of_known_entity(part.entity, 'case when ' ~ part.column ~ ' is not null then event_us end') }}) {{ over }}
    {%- elif part.part in ('sum', 'squares_high', 'squares_middle', 'squares_low') -%}
        cast({{ part_aggregate(part.part, _of_known_entity(part.entity, part.column)) }} {{ over }} as bigint)
    {%- else -%}
        {{ part_aggregate(part.part, _of_known_entity(part.entity, part.column)) }} {{ over }}
    {%- endif -%}
{%- endmacro %}

{# All parts as columns, over all rows of a relation. #}
{% macro windowed_parts(relation) -%}
    select
        transaction_id,
        event_us,
        place,
        {{ _window_parts() | indent(8) }}
    from {{ relation }}
    window
        {{ _window_definitions() | indent(8) }}
{%- endmacro %}

{% macro _window_parts() -%}
    {%- for part in velocity_parts() %}
    {{ window_part(part) }} as {{ part.name }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{% macro _window_definitions() -%}
    {%- set definitions = [] -%}
    {%- for entity in velocity_entities() -%}
        {%- for window in velocity_windows(entity) -%}
            {%- do definitions.append((entity, window)) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- for entity, window in definitions %}
    {{ window_name(entity, window) }} as (
        partition by {{ var('entities')[entity]['keys'] | join(', ') }}
        order by event_us
        range between {{ window_us(window) }} preceding and 1 preceding
    ){{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{#
    The place of the latest event, as one ordered number: time above, place below, so that its maximum is the latest
    place, the larger one at a tie. 57 bits hold a place.
#}
{% macro place_at_time(place) -%}
    cast(event_us as hugeint) * {{ place_modulus() }} + {{ place }}
{%- endmacro %}

{% macro place_modulus() -%}
    144115188075855872
{%- endmacro %}
