{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='fail',
    pre_hook=[
        {'sql': "{{ compute_due_parts(ref('int_transactions__deduped')) }}", 'transaction': false},
        "{{ delete_due_rows(ref('int_transactions__deduped')) }}",
    ],
    post_hook=[
        "{{ record_build(transactions=ref('int_transactions__deduped')) }}",
        {'sql': "{{ discard_parts() }}", 'transaction': false},
    ],
) }}

with {% if not is_compiled(ref('int_transactions__deduped')) -%}
transactions as (

    select * from {{ ref('int_transactions__deduped') }}
    {%- if is_incremental() %}
    where event_us >= {{ first_due_us(ref('int_transactions__deduped')) }} - {{ velocity_horizon_us() }}
    {%- endif %}

),

{% endif -%}
-- Aggregates over what came strictly before, each once.
windowed as (

    {{ (compiled_parts() if is_compiled(ref('int_transactions__deduped')) else windowed_parts('transactions')) | indent(4) }}

),
{{ finishing_ctes('windowed') }},

final as (

    select
        transaction_id,
        {{ timestamp_of('event_us') }} as event_timestamp,
        {{ finished_features() | indent(8) }}
    from finishing
    {%- if is_incremental() %}
    -- A row that landed late changes what comes after it, whenever that landed.
    where event_us >= {{ first_due_us(ref('int_transactions__deduped')) }}
    {%- endif %}

)

select * from final
