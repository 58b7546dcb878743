with labels as (

    select * from {{ ref('stg_landing__labels') }}

),

-- Two sources may say the same thing at the same instant: the one that landed last is right.
deduped as (

    select
        transaction_id,
        is_fraud,
        known_us
    from labels
    qualify row_number() over (partition by transaction_id, known_us order by batch desc, source desc) = 1

),

-- A later label corrects an earlier one: what each changes, so that sums over known_us give what was known at any time.
changes as (

    select
        transaction_id,
        known_us,
        is_fraud,
        cast(is_fraud as bigint) - lag(cast(is_fraud as bigint), 1, 0) over by_transaction as fraud_change,
        case when row_number() over by_transaction = 1 then 1 else 0 end as label_change
    from deduped
    window by_transaction as (partition by transaction_id order by known_us)

),

final as (

    select
        transaction_id,
        known_us,
        is_fraud,
        cast(fraud_change as bigint) as fraud_change,
        cast(label_change as bigint) as label_change
    from changes

)

select * from final
