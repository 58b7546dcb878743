{#
    Parts over the live store, as FILTER aggregates: for each claimed event the events of the same key that are strictly before it and had
    arrived before it (law 1). The text runs on SQLite and PostgreSQL.
#}

{% macro live_part(part) -%}
    {%- set start = 'claimed.event_us - ' ~ window_us(part.window) -%}
    {%- set column = _stored(part.column, 'past') -%}
    {%- if part.part == 'last' -%}
        (
            select {{ _stored(part.column, 'latest') }}
            from {{ _events_of(part.entity) }} as latest
            where {{ _same_entity(part.entity, 'latest') }}
                and latest.event_us >= {{ start }}
                and latest.event_us < claimed.event_us
                and latest.arrival_seq < claimed.arrival_seq
                and {{ _stored(part.column, 'latest') }} is not null
            order by latest.event_us desc, {{ _stored(part.column, 'latest') }} desc
            limit 1
        )
    {%- elif part.part == 'last_us' -%}
        max(past.event_us) filter (where past.event_us >= {{ start }} and {{ column }} is not null)
    {%- elif part.part in ('sum', 'squares_high', 'squares_middle', 'squares_low') -%}
        cast({{ part_aggregate(part.part, column) }} filter (where past.event_us >= {{ start }}) as bigint)
    {%- else -%}
        {{ part_aggregate(part.part, column) }} filter (where past.event_us >= {{ start }})
    {%- endif -%}
{%- endmacro %}

{# The live store's table of an entity's events. #}
{% macro _events_of(entity) -%}
    {{ var('entities')[entity].get('table', 'events') }}
{%- endmacro %}

{# A column of an event as the live store has it. #}
{% macro _stored(column, alias) -%}
    {%- if column == 'place' -%}{{ place_of(alias ~ '.latitude_e6', alias ~ '.longitude_e6') }}
    {%- else -%}{{ alias }}.{{ column }}
    {%- endif -%}
{%- endmacro %}

{% macro _same_entity(entity, alias) -%}
    {%- for key in var('entities')[entity]['keys'] -%}
        {{ alias }}.{{ key }} = claimed.{{ key }}{{ ' and ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}

{# All parts of one entity, a row per claimed event. #}
{% macro live_parts(entity) -%}
    select
        claimed.arrival_seq as seq
        {%- for part in velocity_parts(entity) %},
        {{ live_part(part) }} as {{ part.name }}
        {%- endfor %}
    from claimed
    left join {{ _events_of(entity) }} as past
        on {{ _same_entity(entity, 'past') }}
            and past.event_us >= claimed.event_us - {{ velocity_horizon_us(entity) }}
            and past.event_us < claimed.event_us
            and past.arrival_seq < claimed.arrival_seq
            {%- if _events_of(entity) == 'fraud_reports' %}
            and {{ is_timely_report('past.event_us', 'past.paid_us') }}
            {%- endif %}
    {#- PostgreSQL wants every column that a subquery takes from here. #}
    group by claimed.arrival_seq, claimed.event_us
        {%- for key in var('entities')[entity]['keys'] -%}, claimed.{{ key }}{%- endfor %}
{%- endmacro %}
