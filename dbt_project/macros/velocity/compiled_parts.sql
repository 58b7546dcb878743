{#
    Parts over history, by compiled loops (warehouse/velocity/parts.py): the same values as window functions give, many times faster. A hook
    has them computed into Parquet files, which the model reads; the expressions that finish features stay the one text.
#}

{# Whether `parts_declared` are computed by compiled loops: `auto` takes them where they can run and every part has one. #}
{% macro is_compiled(declared) %}
    {% set rendering = var('velocity_rendering') %}
    {% if rendering not in ('auto', 'loops', 'windows') %}
        {{ exceptions.raise_compiler_error("expected velocity_rendering auto, loops or windows, got '" ~ rendering ~ "'") }}
    {% endif %}
    {% if not execute or rendering == 'windows' or model.resource_type == 'unit_test' %}
        {{ return(false) }}
    {% endif %}
    {% set reason = run_query("select reason_for_windows('" ~ declared ~ "')").columns[0].values()[0] %}
    {% if reason and rendering == 'loops' %}
        {{ exceptions.raise_compiler_error("velocity_rendering is loops, but " ~ reason) }}
    {% elif reason %}
        {% do log("Velocity by window functions: " ~ reason) %}
    {% endif %}
    {{ return(not reason) }}
{% endmacro %}

{# Hook: loads the loops beside the first models, where velocity is to be computed by them. #}
{% macro begin_loading_loops() -%}
    {%- if execute and var('velocity_rendering') != 'windows'
            and 'model.' ~ project_name ~ '.feat_transaction_velocity' in selected_resources -%}
    select begin_loading_loops()
    {%- endif -%}
{%- endmacro %}

{# Hook: computes the parts of the events that are due. #}
{% macro compute_due_parts(events, due_us) -%}
    {%- set declared = parts_declared(events) -%}
    {%- if is_compiled(declared) -%}
    select write_velocity_parts(
        '{{ events }}', '{{ declared }}', {{ due_us if is_incremental() else '-' ~ end_of_time_us() }}
    )
    {%- endif -%}
{%- endmacro %}

{# What the hook wrote: the columns of `windowed_parts`. #}
{% macro compiled_parts() -%}
    select * from read_parquet('{{ home_folder() }}/warehouse/velocity_parts/*.parquet')
{%- endmacro %}

{# Hook: the parts are needed no longer. #}
{% macro discard_parts() -%}
    select discard_velocity_parts()
{%- endmacro %}

{# Parts, the keys of their entities, and the types of the relation's columns (none before it is built), as JSON within a SQL string. #}
{% macro parts_declared(events) %}
    {% set entities = {} %}
    {% for entity in velocity_entities() %}
        {% do entities.update({entity: var('entities')[entity]['keys']}) %}
    {% endfor %}
    {% set parts = [] %}
    {% for part in velocity_parts() %}
        {% do parts.append({
            'name': part.name, 'part': part.part, 'column': part.column, 'entity': part.entity, 'window_us': window_us(part.window)
        }) %}
    {% endfor %}
    {% set types = {} %}
    {% for column in adapter.get_columns_in_relation(events) %}
        {% do types.update({column.name: column.dtype | lower}) %}
    {% endfor %}
    {{ return(escape_single_quotes(tojson({'entities': entities, 'parts': parts, 'types': types}))) }}
{% endmacro %}
