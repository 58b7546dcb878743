{{ config(materialized='daily', slice_by='customer_id', memory=var('profile_memory')) }}

{% set windows = var('profile_windows') %}
{% set sums = ['transactions_squared', 'amount_sum', 'squares_high', 'squares_middle', 'squares_low', 'weekend_transactions'] %}
{% for part in var('parts_of_day') %}{% do sums.append(part ~ '_transactions') %}{% endfor %}
{% set memory_days = window_days(var('profile_memory')) %}

with snapshot_days as (

    select * from {{ ref('int_snapshot_days') }}
    {{ due_snapshot_days() }}

),

customer_days as (

    select
        *,
        transactions * transactions as transactions_squared,
        lag(day) over by_customer as previous_day,
        first_event_us - lag(last_event_us) over by_customer as gap_before_us
    from {{ ref('int_customers__daily') }}
    where {{ is_in_slice('customer_id') }} and {{ seen_by_snapshots('day', memory_days) }}
    window by_customer as (partition by customer_id order by day)

),

first_days as (

    select
        customer_id,
        min(first_event_us) as first_event_us
    from {{ ref('int_customers__daily') }}
    where {{ is_in_slice('customer_id') }}
    group by customer_id

),

-- Each day at each snapshot that remembers it. What comes later must not say whether there is a snapshot today.
remembered as (

    select
        customer_days.*,
        {{ remembering_days('customer_days.day', memory_days) }} as snapshot_day
    from customer_days

),

-- A day is summed once, under the shortest window that holds it; null: none does any longer.
banded as (

    select
        customer_id,
        snapshot_day,
        case
            {%- for window in windows %}
            when day > snapshot_day - {{ window_days(window) }} then {{ window_days(window) }}
            {%- endfor %}
        end as window_days,
        count(*) as active_days,
        sum(transactions) as transactions,
        {%- for column in sums %}
        sum({{ column }}) as {{ column }},
        {%- endfor %}
        max(amount_max) as amount_max,
        min(first_event_us) as first_event_us,
        max(last_event_us) as last_event_us
        {%- for window in windows %},
        -- The gap before the window's first day began outside.
        max(greatest(gap_max_us, case when previous_day > snapshot_day - {{ window_days(window) }} then gap_before_us end)) as gap_max_us_{{ window }}
        {%- endfor %}
    from remembered
    group by all

),

windowed as (

    select
        customer_id,
        snapshot_day as day,
        max(last_event_us) as last_event_us
        {%- for window in windows %}
        {%- set within = 'filter (where window_days <= ' ~ window_days(window) ~ ')' %},
        cast(coalesce(sum(active_days) {{ within }}, 0) as bigint) as active_days_{{ window }},
        cast(coalesce(sum(transactions) {{ within }}, 0) as bigint) as transactions_{{ window }},
        {%- for column in sums %}
        cast(sum({{ column }}) {{ within }} as bigint) as {{ column }}_{{ window }},
        {%- endfor %}
        max(amount_max) {{ within }} as amount_max_{{ window }},
        min(first_event_us) {{ within }} as first_event_us_{{ window }},
        max(gap_max_us_{{ window }}) {{ within }} as gap_max_us_{{ window }}
        {%- endfor %}
    from banded
    group by customer_id, snapshot_day

),

final as (

    select
        windowed.*,
        first_days.first_event_us
        {%- for window in windows %},
        least({{ window_days(window) }}, windowed.day - {{ day_of('first_days.first_event_us') }} + 1) as observed_days_{{ window }}
        {%- endfor %}
    from windowed
    inner join first_days
        on first_days.customer_id = windowed.customer_id
    where windowed.day in (select snapshot_days.day from snapshot_days)

)

-- By days, as they are looked up.
select * from final
order by day
