with labels as (

    select * from {{ ref('int_labels__changes') }}
    where is_fraud

),

transactions as (

    select * from {{ ref('int_transactions__deduped') }}

),

final as (

    select
        transactions.transaction_id,
        transactions.customer_id,
        transactions.merchant_id,
        transactions.category,
        transactions.event_us,
        transactions.amount_minor,
        labels.known_us,
        labels.fraud_change
    from labels
    inner join transactions
        on transactions.transaction_id = labels.transaction_id

)

select * from final
