with label_changes as (

    select * from {{ ref('int_labels__changes') }}

),

transactions as (

    select * from {{ ref('int_transactions__deduped') }}

),

-- A label that makes a fraud begins a spell, the next one that clears it ends the spell.
fraud_changes as (

    select
        transaction_id,
        known_us,
        fraud_change,
        lead(known_us) over (partition by transaction_id order by known_us) as cleared_us
    from label_changes
    where fraud_change != 0

),

final as (

    select
        transactions.transaction_id,
        transactions.customer_id,
        transactions.merchant_id,
        transactions.category,
        transactions.event_us,
        transactions.amount_minor,
        fraud_changes.known_us,
        fraud_changes.cleared_us
    from fraud_changes
    inner join transactions
        on transactions.transaction_id = fraud_changes.transaction_id
    where fraud_changes.fraud_change = 1

)

select * from final
