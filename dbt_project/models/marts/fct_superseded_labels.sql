-- Payments whose verdict has changed are few: they alone are put in order.
with corrected as (

    select distinct transaction_id
    from {{ ref('int_labels__changes') }}
    where {{ is_new_verdict() }} and label_change = 0

),

verdicts as (

    select
        labels.transaction_id,
        labels.is_fraud,
        labels.known_us,
        lead(labels.known_us) over (partition by labels.transaction_id order by labels.known_us) as superseded_us
    from {{ ref('int_labels__changes') }} as labels
    semi join corrected
        on corrected.transaction_id = labels.transaction_id
    where {{ is_new_verdict() }}

)

select * from verdicts
where superseded_us is not null
