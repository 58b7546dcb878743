with reports as (

    select * from {{ ref('int_frauds__reports') }}
    where fraud_change = 1

),

label_changes as (

    select * from {{ ref('int_labels__changes') }}
    where fraud_change != 0

),

-- A label that makes a fraud begins a spell, the next one that clears it ends the spell.
ended as (

    select
        transaction_id,
        known_us,
        lead(known_us) over (partition by transaction_id order by known_us) as cleared_us
    from label_changes

),

final as (

    select
        reports.* exclude (fraud_change),
        ended.cleared_us
    from reports
    inner join ended
        on ended.transaction_id = reports.transaction_id
            and ended.known_us = reports.known_us

)

select * from final
