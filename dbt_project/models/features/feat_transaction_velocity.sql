{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='fail',
    pre_hook=[
        {
            'sql': "{{ compute_due_parts(ref('int_events'), first_due_us(ref('int_transactions__deduped'), ref('int_labels__changes'))) }}",
            'transaction': false,
        },
        "{{ delete_due_rows(ref('int_transactions__deduped'), ref('int_labels__changes')) }}",
    ],
    post_hook=[
        "{{ record_build(transactions=ref('int_transactions__deduped'), labels=ref('int_labels__changes')) }}",
        {'sql': "{{ discard_parts() }}", 'transaction': false},
    ],
) }}

{% set by_loops = is_compiled(parts_declared(ref('int_events'))) -%}
{% if is_incremental() -%}
{% set due_us = first_due_us(ref('int_transactions__deduped'), ref('int_labels__changes')) %}
{%- endif -%}

with {% if not by_loops -%}
events as (

    select * from {{ ref('int_events') }}
    {%- if is_incremental() %}
    where event_us >= {{ due_us }} - {{ velocity_horizon_us() }}
    {%- endif %}

),

{% endif -%}
-- Aggregates over what came strictly before, each once.
windowed as (

    {{ (compiled_parts() if by_loops else windowed_parts('events')) | indent(4) }}

),
{{ finishing_ctes('windowed') }},

final as (

    select
        transaction_id,
        {{ timestamp_of('event_us') }} as event_timestamp,
        {{ finished_features() | indent(8) }}
    from finishing
    -- A fraud report is only looked back on.
    where transaction_id is not null
    {%- if is_incremental() %}
        -- A row that landed late changes what comes after it, whenever that landed.
        and event_us >= {{ due_us }}
    {%- endif %}

)

select * from final
