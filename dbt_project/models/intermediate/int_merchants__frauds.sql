{{ config(materialized='daily') }}

{% set windows = var('risk_windows') %}
{% set longest_days = window_days(windows[-1]) %}
{% set memory_days = window_days(var('fraud_run_memory')) %}

with snapshot_days as (

    select * from {{ ref('int_snapshot_days') }}
    {{ due_snapshot_days() }}

),

frauds as (

    select
        *,
        {{ day_of('event_us') }} as event_day,
        {{ day_of('known_us') }} as known_day,
        -- For ever, where nothing cleared it.
        coalesce({{ day_of('cleared_us') }}, (select max(snapshot_days.day) + 1 from snapshot_days)) as cleared_day
    from {{ ref('int_frauds__explained') }}
    where merchant_id is not null

),

-- Each fraud on the days on which it is one of the last days' news.
news as (

    select
        merchant_id,
        known_day,
        is_explained,
        {{ snapshots_between('known_day', 'least(known_day + ' ~ longest_days ~ ', cleared_day)') }} as day
    from frauds

),

counted as (

    select
        merchant_id,
        day
        {%- for window in windows %},
        count(*) filter (where not is_explained and day < known_day + {{ window_days(window) }}) as unexplained_{{ window }}
        {%- endfor %}
    from news
    group by merchant_id, day

),

-- Each fraud on the days on which it is known and not long past.
remembered as (

    select
        merchant_id,
        transaction_id,
        event_us,
        {{ snapshots_between('known_day', 'least(event_day + ' ~ memory_days ~ ', cleared_day)') }} as day
    from frauds

),

-- A run begins with the first fraud, and with each that comes long after the one before.
spaced as (

    select
        merchant_id,
        day,
        event_us,
        coalesce(event_us - lag(event_us) over in_time > {{ window_us(var('fraud_run_gap')) }}, true) as is_first_of_run
    from remembered
    where day in (select snapshot_days.day from snapshot_days)
    window in_time as (partition by merchant_id, day order by event_us, transaction_id)

),

latest as (

    select
        *,
        max(case when is_first_of_run then event_us end) over (partition by merchant_id, day) as run_first_us
    from spaced

),

runs as (

    select
        merchant_id,
        day,
        run_first_us,
        max(event_us) as run_last_us,
        count(*) as run_frauds
    from latest
    where event_us >= run_first_us
    group by merchant_id, day, run_first_us

),

final as (

    select
        coalesce(counted.merchant_id, runs.merchant_id) as merchant_id,
        coalesce(counted.day, runs.day) as day,
        {%- for window in windows %}
        cast(coalesce(counted.unexplained_{{ window }}, 0) as bigint) as unexplained_{{ window }},
        {%- endfor %}
        runs.run_first_us,
        runs.run_last_us,
        cast(runs.run_frauds as bigint) as run_frauds
    from counted
    full join runs
        on runs.merchant_id = counted.merchant_id
            and runs.day = counted.day
    where coalesce(counted.day, runs.day) in (select snapshot_days.day from snapshot_days)

)

select * from final
