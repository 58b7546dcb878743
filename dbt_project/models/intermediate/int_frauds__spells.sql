with label_changes as (

    select * from {{ ref('int_labels__changes') }}

),

-- A label that makes a fraud begins a spell, the next one that clears it ends the spell.
fraud_changes as (

    select
        *,
        lead(known_us) over (partition by transaction_id order by known_us) as cleared_us
    from label_changes
    where fraud_change != 0 and event_us is not null

),

final as (

    select
        transaction_id,
        customer_id,
        merchant_id,
        category,
        event_us,
        amount_minor,
        known_us,
        cleared_us
    from fraud_changes
    where fraud_change = 1

)

select * from final
