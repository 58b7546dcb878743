-- A returned row is a transaction whose count over the last 24 hours, told the slow way, is another one.
with transactions as (

    select * from {{ ref('int_transactions__deduped') }}

),

velocity as (

    select * from {{ ref('feat_transaction_velocity') }}

),

sampled as (

    select *
    from transactions
    where customer_id is not null and hash(transaction_id) % 997 = 0

),

counted as (

    select
        sampled.transaction_id,
        count(earlier.transaction_id) as transactions
    from sampled
    left join transactions as earlier
        on earlier.customer_id = sampled.customer_id
            and earlier.event_us < sampled.event_us
            and earlier.event_us >= sampled.event_us - {{ window_us('24h') }}
    group by sampled.transaction_id

)

select counted.transaction_id
from counted
inner join velocity
    on velocity.transaction_id = counted.transaction_id
where velocity.transaction_count_24h != counted.transactions
