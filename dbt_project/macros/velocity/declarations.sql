{#
    Velocity features, from their declarations in dbt_project.yml (law 3). A feature is made of parts: plain aggregates over a
    window, integers or keys, on which every engine agrees to the last bit (law 2). Parts are rendered twice, as window
    functions over history (window_parts.sql) and as aggregates over the live store (live_parts.sql); the expression
    that finishes a feature from its parts is one text for both (finishing.sql).
#}

{# Every declared feature: name, entity, operation, column, window. #}
{% macro velocity_features() %}
    {% set features = [] %}
    {% for declaration in var('velocity_features') %}
        {% if declaration.entity not in var('entities') or declaration.measure not in var('measures') %}
            {{ exceptions.raise_compiler_error("velocity feature with an unknown entity or measure: " ~ declaration) }}
        {% endif %}
        {% for window in declaration.windows %}
            {% do features.append({
                'name': var('entities')[declaration.entity].prefix ~ declaration.measure ~ '_' ~ declaration.operation ~ '_' ~ window,
                'entity': declaration.entity,
                'operation': declaration.operation,
                'column': var('measures')[declaration.measure],
                'window': window,
            }) %}
        {% endfor %}
    {% endfor %}
    {{ return(features) }}
{% endmacro %}

{# Names of the parts that an operation is finished from. #}
{% macro operation_parts(operation) %}
    {% set parts = {
        'count': ['count'],
        'sum': ['sum'],
        'mean': ['sum', 'count'],
        'max': ['max'],
        'stddev': ['sum', 'count', 'squares_high', 'squares_middle', 'squares_low'],
        'distinct': ['distinct'],
        'since_last': ['max'],
        'last_km': ['last'],
        'last_kmh': ['last', 'last_us'],
    } %}
    {% if operation not in parts %}
        {{ exceptions.raise_compiler_error("expected an operation among " ~ parts.keys() | list ~ ", got '" ~ operation ~ "'") }}
    {% endif %}
    {{ return(parts[operation]) }}
{% endmacro %}

{# Column name of a part. #}
{% macro part_name(feature, part) %}
    {{ return(feature.entity ~ '__' ~ feature.column ~ '__' ~ part ~ '__' ~ feature.window) }}
{% endmacro %}

{# Each part once, of one entity or of all: name, part, column, entity, window. #}
{% macro velocity_parts(entity=none) %}
    {% set parts = {} %}
    {% for feature in velocity_features() if entity is none or feature.entity == entity %}
        {% for part in operation_parts(feature.operation) %}
            {% set name = part_name(feature, part) %}
            {% do parts.update({name: {
                'name': name, 'part': part, 'column': feature.column, 'entity': feature.entity, 'window': feature.window
            }}) %}
        {% endfor %}
    {% endfor %}
    {{ return(parts.values() | list) }}
{% endmacro %}

{# Entities that have a declared feature, in the order of dbt_project.yml. #}
{% macro velocity_entities() %}
    {% set used = velocity_features() | map(attribute='entity') | list %}
    {% set entities = [] %}
    {% for entity in var('entities') if entity in used %}
        {% do entities.append(entity) %}
    {% endfor %}
    {{ return(entities) }}
{% endmacro %}

{# Windows of one entity, each once. #}
{% macro velocity_windows(entity) %}
    {% set windows = [] %}
    {% for feature in velocity_features() if feature.entity == entity and feature.window not in windows %}
        {% do windows.append(feature.window) %}
    {% endfor %}
    {{ return(windows) }}
{% endmacro %}

{# Microseconds of the longest window of one entity, or of all: the live horizon. #}
{% macro velocity_horizon_us(entity=none) %}
    {% set longest = namespace(us=0) %}
    {% for feature in velocity_features() if entity is none or feature.entity == entity %}
        {% set longest.us = [longest.us, window_us(feature.window)] | max %}
    {% endfor %}
    {{ return(longest.us) }}
{% endmacro %}

{#
    The aggregate of a part that both renderings share, over `argument`. Squares are summed in two limbs of 20 bits, so that nothing
    overflows an int64 for up to 2^20 events of up to 10^12 minor units (law 2).
#}
{% macro part_aggregate(part, argument) -%}
    {%- if part == 'count' -%}count({{ argument }})
    {%- elif part == 'sum' -%}sum({{ argument }})
    {%- elif part in ('max', 'last_us') -%}max({{ argument }})
    {%- elif part == 'distinct' -%}count(distinct {{ argument }})
    {%- elif part == 'squares_high' -%}sum(({{ argument }} >> 20) * ({{ argument }} >> 20))
    {%- elif part == 'squares_middle' -%}sum(({{ argument }} >> 20) * ({{ argument }} & 1048575))
    {%- elif part == 'squares_low' -%}sum(({{ argument }} & 1048575) * ({{ argument }} & 1048575))
    {%- endif -%}
{%- endmacro %}

{# Columns of a payment that windows look at: their time, what is measured, and keys. #}
{% macro payment_columns() %}
    {% set columns = ['event_us'] %}
    {% for column in var('measures').values() | list + var('entities').values() | map(attribute='keys') | sum(start=[]) %}
        {% if column not in columns and not column.startswith('reported_') %}
            {% do columns.append(column) %}
        {% endif %}
    {% endfor %}
    {{ return(columns) }}
{% endmacro %}

{#
    Condition: a fraud report counts in windows if its payment is not older, when it becomes known, than what the live store is sure to
    remember.
#}
{% macro is_timely_report(known_us, paid_us) -%}
    {{ known_us }} - {{ paid_us }} between 0 and {{ velocity_horizon_us() }}
{%- endmacro %}
