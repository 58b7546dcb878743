{{ config(materialized='daily', slice_by='merchant_id', memory=var('fraud_run_memory')) }}

{% set memory_days = window_days(var('fraud_run_memory')) %}

with snapshot_days as (

    select * from {{ ref('int_snapshot_days') }}
    {{ due_snapshot_days() }}

),

label_changes as (

    select * from {{ ref('int_labels__changes') }}
    where {{ is_in_slice('merchant_id') }} and {{ seen_by_snapshots(day_of('event_us'), memory_days) }}

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
    where merchant_id is not null and {{ is_in_slice('merchant_id') }}

),

-- Each fraud on the days on which it is known and not long past.
remembered as (

    select
        merchant_id,
        event_us,
        {{ snapshots_between('known_day', 'least(event_day + ' ~ memory_days ~ ', cleared_day)') }} as day
    from frauds

),

due as (

    select * from remembered
    where day in (select snapshot_days.day from snapshot_days)

),

-- A payment is genuine from the day on which that is known, until a later label. Of those alike the latest says all.
genuine as (

    select
        merchant_id,
        {{ day_of('known_us') }} as known_day,
        coalesce({{ day_of('next_known_us') }}, (select max(snapshot_days.day) + 1 from snapshot_days)) as ended_day,
        max(event_us) as event_us
    from label_changes
    where not is_fraud and merchant_id in (select due.merchant_id from due)
    group by all

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

-- By days, as they are looked up.
select * from final
order by day
