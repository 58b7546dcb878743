{{ config(materialized='daily') }}

{% set memory_days = window_days(var('fraud_run_memory')) %}

with snapshot_days as (

    select * from {{ ref('int_snapshot_days') }}
    {{ due_snapshot_days() }}

),

transactions as (

    select * from {{ ref('int_transactions__deduped') }}
    where {{ seen_by_snapshots(day_of('event_us'), memory_days) }}

),

label_changes as (

    select * from {{ ref('int_labels__changes') }}

),

-- For ever, where nothing ended it.
frauds as (

    select
        merchant_id,
        event_us,
        {{ day_of('event_us') }} as event_day,
        {{ day_of('known_us') }} as known_day,
        coalesce({{ day_of('cleared_us') }}, (select max(snapshot_days.day) + 1 from snapshot_days)) as cleared_day
    from {{ ref('int_frauds__spells') }}
    where merchant_id is not null

),

-- Each fraud on the days on which it is known and not long past.
remembered as (

    select
        merchant_id,
        event_us,
        unnest(range(known_day, least(event_day + {{ memory_days }}, cleared_day))) as day
    from frauds

),

due as (

    select * from remembered
    where day in (select snapshot_days.day from snapshot_days)

),

labelled as (

    select
        transactions.merchant_id,
        transactions.event_us,
        label_changes.is_fraud,
        {{ day_of('label_changes.known_us') }} as known_day,
        {{ day_of('lead(label_changes.known_us) over by_transaction') }} as next_known_day
    from label_changes
    inner join transactions
        on transactions.transaction_id = label_changes.transaction_id
    where transactions.merchant_id in (select due.merchant_id from due)
    window by_transaction as (partition by label_changes.transaction_id order by label_changes.known_us)

),

-- A payment is genuine from the day on which that is known, until a later label.
genuine as (

    select
        merchant_id,
        event_us,
        known_day,
        coalesce(next_known_day, (select max(snapshot_days.day) + 1 from snapshot_days)) as ended_day
    from labelled
    where not is_fraud

),

merchant_days as (

    select distinct
        merchant_id,
        day
    from due

),

latest_genuine as (

    select
        merchant_days.merchant_id,
        merchant_days.day,
        max(genuine.event_us) as genuine_us
    from merchant_days
    inner join genuine
        on genuine.merchant_id = merchant_days.merchant_id
            and genuine.known_day <= merchant_days.day
            and genuine.ended_day > merchant_days.day
            and genuine.event_us >= (merchant_days.day - {{ memory_days - 1 }}) * {{ day_us() }}
    group by merchant_days.merchant_id, merchant_days.day

),

placed as (

    select
        due.merchant_id,
        due.day,
        due.event_us,
        latest_genuine.genuine_us,
        latest_genuine.genuine_us is null or due.event_us > latest_genuine.genuine_us as is_of_streak
    from due
    left join latest_genuine
        on latest_genuine.merchant_id = due.merchant_id
            and latest_genuine.day = due.day

),

final as (

    select
        merchant_id,
        day,
        genuine_us,
        min(event_us) filter (where is_of_streak) as streak_first_us,
        cast(count(*) filter (where is_of_streak) as bigint) as streak_frauds
    from placed
    group by merchant_id, day, genuine_us

)

select * from final
