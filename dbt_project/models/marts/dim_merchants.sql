with transactions as (

    select * from {{ ref('fct_transactions') }}

),

final as (

    select
        merchant_id,
        cast(count(*) as bigint) as transactions,
        cast(sum(amount_minor) as bigint) as amount_sum,
        cast(count(*) filter (where is_fraud) as bigint) as frauds,
        min(event_timestamp) as first_transaction_at,
        max(event_timestamp) as last_transaction_at
    from transactions
    where merchant_id is not null
    group by merchant_id

)

select * from final
