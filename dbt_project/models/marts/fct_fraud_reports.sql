with labels as (

    select * from {{ ref('int_labels__changes') }}
    where is_fraud and event_us is not null

),

final as (

    select
        transaction_id,
        merchant_id,
        event_us,
        known_us
    from labels

)

select * from final
