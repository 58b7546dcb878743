{#
    Parts over the live store: for each claimed event, over the events of the same key that are strictly before it and had arrived before
    it (law 1). The text runs on SQLite and PostgreSQL.

    Windows lie in each other, and what lies between the starts of two of them is a band. Each band is added up once, whatever the number of
    windows around it, and a window is its bands together. That holds for whole numbers and maxima, to the last bit. How many values are
    distinct doesn't add up, and is counted window by window.
#}

{# All parts of one entity, a row per claimed event. #}
{% macro live_parts(entity) -%}
    {%- set banded, distinct = [], [] -%}
    {%- for part in velocity_parts(entity) if part.part != 'last' -%}
        {%- do (distinct if part.part == 'distinct' else banded).append(part) -%}
    {%- endfor -%}
    select
        claimed.arrival_seq as seq
        {%- for part in velocity_parts(entity) %},
        {{ _live_part(part) }} as {{ part.name }}
        {%- endfor %}
    from claimed
    {%- if banded %}
    left join (
        {{ _added_bands(entity, banded) | indent(8) }}
    ) as banded on banded.seq = claimed.arrival_seq
    {%- endif %}
    {%- if distinct %}
    left join (
        {{ _distinct_counts(entity, distinct) | indent(8) }}
    ) as told_apart on told_apart.seq = claimed.arrival_seq
    {%- endif %}
{%- endmacro %}

{% macro _live_part(part) -%}
    {%- if part.part == 'last' -%}{{ _last(part) }}
    {%- elif part.part == 'distinct' -%}told_apart.{{ part.name }}
    {%- elif part.part == 'count' -%}coalesce(banded.{{ part.name }}, 0)
    {%- else -%}banded.{{ part.name }}
    {%- endif -%}
{%- endmacro %}

{# The value of the latest event that has one, the larger one at a tie. #}
{% macro _last(part) -%}
    (
        select {{ _stored(part.column, 'latest') }}
        from {{ _events_of(part.entity) }} as latest
        where {{ _are_past(part.entity, 'latest', window_us(part.window)) | indent(8) }}
            and {{ _stored(part.column, 'latest') }} is not null
        order by latest.event_us desc, {{ _stored(part.column, 'latest') }} desc
        limit 1
    )
{%- endmacro %}

{# Parts of each window from the bands that it holds, numbered from the shortest window on. #}
{% macro _added_bands(entity, parts) -%}
    {%- set lengths = _lengths_us(parts) -%}
    select
        bands.seq
        {%- for part in parts %}
        {%- set column = 'bands.' ~ _band_column(part) -%}
        {%- set held = 'filter (where bands.band <= ' ~ lengths.index(window_us(part.window)) ~ ')' %},
        {% if part.part in ('max', 'last_us') -%} max({{ column }}) {{ held }}
        {%- else -%} cast(sum({{ column }}) {{ held }} as bigint)
        {%- endif %} as {{ part.name }}
        {%- endfor %}
    from (
        {%- for length_us in lengths %}
        {{ _band(entity, parts, loop.index0, length_us, loop.previtem) | indent(8) }}
        {{- '\n        union all' if not loop.last }}
        {%- endfor %}
    ) as bands
    group by bands.seq
{%- endmacro %}

{# One band: the events from `length_us` ago up to `shorter_us` ago. #}
{% macro _band(entity, parts, number, length_us, shorter_us) -%}
    select
        claimed.arrival_seq as seq,
        {{ number }} as band
        {%- for column, aggregate in _band_aggregates(parts).items() %},
        {{ aggregate }} as {{ column }}
        {%- endfor %}
    from claimed
    inner join {{ _events_of(entity) }} as past
        on {{ _are_past(entity, 'past', length_us, shorter_us) | indent(8) }}
    group by claimed.arrival_seq
{%- endmacro %}

{% macro _band_aggregates(parts) %}
    {% set aggregates = {} %}
    {% for part in parts %}
        {% set column = _stored(part.column, 'past') %}
        {% if part.part == 'last_us' %}
            {% set aggregate = 'max(case when ' ~ column ~ ' is not null then past.event_us end)' %}
        {% elif part.part in ('count', 'max') %}
            {% set aggregate = part_aggregate(part.part, column) %}
        {% else %}
            {% set aggregate = 'cast(' ~ part_aggregate(part.part, column) ~ ' as bigint)' %}
        {% endif %}
        {% do aggregates.update({_band_column(part): aggregate}) %}
    {% endfor %}
    {{ return(aggregates) }}
{% endmacro %}

{% macro _band_column(part) -%}
    {{ part.column }}__{{ part.part }}
{%- endmacro %}

{# Lengths of the windows of some parts, each once, the shortest first. #}
{% macro _lengths_us(parts) %}
    {% set lengths = [] %}
    {% for part in parts if window_us(part.window) not in lengths %}
        {% do lengths.append(window_us(part.window)) %}
    {% endfor %}
    {{ return(lengths | sort) }}
{% endmacro %}

{% macro _distinct_counts(entity, parts) -%}
    select
        claimed.arrival_seq as seq
        {%- for part in parts %},
        {{ part_aggregate('distinct', _stored(part.column, 'past')) }} filter (where past.event_us >= claimed.event_us - {{ window_us(part.window) }}) as {{ part.name }}
        {%- endfor %}
    from claimed
    left join {{ _events_of(entity) }} as past
        on {{ _are_past(entity, 'past', _lengths_us(parts) | last) | indent(8) }}
    group by claimed.arrival_seq
{%- endmacro %}

{# Condition: events of the claimed one's key, from `length_us` before it up to `shorter_us` before it, that had arrived. #}
{% macro _are_past(entity, alias, length_us, shorter_us=0) -%}
    {%- for key in var('entities')[entity]['keys'] -%}
        {{ alias ~ '.' ~ key ~ ' = claimed.' ~ key ~ ' and ' }}
    {%- endfor -%}
    {{ alias }}.event_us >= claimed.event_us - {{ length_us }}
    and {{ alias }}.event_us < claimed.event_us{{ ' - ' ~ shorter_us if shorter_us }}
    and {{ alias }}.arrival_seq < claimed.arrival_seq
    {%- if _events_of(entity) == 'fraud_reports' %}
    and {{ is_timely_report(alias ~ '.event_us', alias ~ '.paid_us') }}
    {%- endif %}
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
