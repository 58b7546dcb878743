{#
    How features are finished from their parts: one text for history and live. Every operand is cast to double before the first
    division, in one order of operations; a variance is floored at 0 before the root (law 2). What several expressions
    need is a step of its own, so that no text grows with its depth.
#}

{% macro double(expression) -%}
    cast({{ expression }} as double precision)
{%- endmacro %}

{# Steps before the last: a list of {column: expression}, each step over the columns of the one before. #}
{% macro finishing_steps() %}
    {% set steps = [{}, {}, {}, {}, {}] %}
    {% for feature in velocity_features() %}
        {% if feature.operation == 'stddev' %}
            {% do steps[0].update({feature.name ~ '__variance': variance(
                part_name(feature, 'sum'), part_name(feature, 'count'),
                part_name(feature, 'squares_high'), part_name(feature, 'squares_middle'), part_name(feature, 'squares_low')
            )}) %}
        {% elif feature.operation in ('last_km', 'last_kmh') %}
            {% set last = part_name(feature, 'last') %}
            {% for step in distance_steps(last, last, feature.column) %}
                {% do steps[loop.index0].update(step) %}
            {% endfor %}
        {% endif %}
    {% endfor %}
    {{ return(steps | select | list) }}
{% endmacro %}

{# The steps as CTEs named finishing_1, finishing_2, …; `materialized` keeps an engine from copying expressions into each other. #}
{% macro finishing_ctes(source, materialized=false) -%}
    {%- set steps = finishing_steps() -%}
    {%- for step in steps %}
finishing_{{ loop.index }} as {{ 'materialized ' if materialized }}(
    select
        *
        {%- for column, expression in step.items() %},
        {{ expression }} as {{ column }}
        {%- endfor %}
    from {{ source if loop.first else 'finishing_' ~ loop.index0 }}
),
    {%- endfor %}
finishing as (
    select * from {{ 'finishing_' ~ (steps | length) if steps else source }}
)
{%- endmacro %}

{# The expression of one feature over the last step. #}
{% macro finished(feature) -%}
    {%- set operation = feature.operation -%}
    {%- if operation in ('count', 'sum', 'max', 'distinct') -%}
        {{ part_name(feature, operation) }}
    {%- elif operation == 'mean' -%}
        {{ double(part_name(feature, 'sum')) }} / nullif({{ double(part_name(feature, 'count')) }}, 0)
    {%- elif operation == 'stddev' -%}
        sqrt(case when {{ feature.name }}__variance < 0 then 0 else {{ feature.name }}__variance end)
    {%- elif operation == 'since_last' -%}
        {{ double('event_us - ' ~ part_name(feature, 'max')) }} / {{ double('1000000') }}
    {%- elif operation == 'last_km' -%}
        {{ part_name(feature, 'last') }}__km
    {%- elif operation == 'last_kmh' -%}
        {{ part_name(feature, 'last') }}__km / ({{ double('event_us - ' ~ part_name(feature, 'last_us')) }} / {{ double('3600000000') }})
    {%- endif -%}
{%- endmacro %}

{# Population variance in minor units squared: (sum of squares - sum^2 / n) / n, null for no rows. #}
{% macro variance(sum, count, squares_high, squares_middle, squares_low) -%}
    {%- set count = 'nullif(' ~ double(count) ~ ', 0)' -%}
    ({{ double(squares_high) }} * {{ double('1099511627776') }} + {{ double(squares_middle) }} * {{ double('2097152') }} + {{ double(squares_low) }} - {{ double(sum) }} * {{ double(sum) }} / {{ count }}) / {{ count }}
{%- endmacro %}

{# All features, as columns. #}
{% macro finished_features() -%}
    {%- for feature in velocity_features() %}
    {{ finished(feature) }} as {{ feature.name }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}
