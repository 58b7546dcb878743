with transactions as (

    select * from {{ ref('int_transactions__deduped') }}

),

-- Aggregates over what came strictly before, each once.
windowed as (

    select
        transaction_id,
        event_us,
        place,
        {{ window_parts() | indent(8) }}
    from transactions
    window
        {{ window_definitions() | indent(8) }}

),
{{ finishing_ctes('windowed') }},

final as (

    select
        transaction_id,
        {{ timestamp_of('event_us') }} as event_timestamp,
        {{ finished_features() | indent(8) }}
    from finishing

)

select * from final
