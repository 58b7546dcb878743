{{ config(materialized='daily') }}

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
        transactions * transactions as transactions_squared
    from {{ ref('int_customers__daily') }}
    where {{ seen_by_snapshots('day', memory_days) }}

),

first_days as (

    select
        customer_id,
        min(first_event_us) as first_event_us
    from {{ ref('int_customers__daily') }}
    group by customer_id

),

-- A day's snapshot is the last word until the customer's next day with a transaction, or until the memory ends. What comes
-- later must not say whether there is a snapshot today.
spans as (

    select
        customer_id,
        last_event_us,
        unnest(range(
            day,
            least(coalesce(lead(day) over by_customer, day + {{ memory_days + 1 }}), day + {{ memory_days + 1 }})
        )) as day
    from customer_days
    window by_customer as (partition by customer_id order by day)

),

snapshots as (

    select
        spans.customer_id,
        spans.day,
        spans.last_event_us,
        snapshot_days.day is not null as is_due
    from spans
    left join snapshot_days
        on snapshot_days.day = spans.day

),

windowed as (

    select
        snapshots.customer_id,
        snapshots.day,
        snapshots.last_event_us,
        snapshots.is_due
        {%- for window in var('profile_windows') %},
        cast(count(customer_days.day) over last_{{ window }} as bigint) as active_days_{{ window }},
        cast(coalesce(sum(customer_days.transactions) over last_{{ window }}, 0) as bigint) as transactions_{{ window }},
        {%- for column in sums %}
        cast(sum(customer_days.{{ column }}) over last_{{ window }} as bigint) as {{ column }}_{{ window }},
        {%- endfor %}
        max(customer_days.amount_max) over last_{{ window }} as amount_max_{{ window }},
        min(customer_days.first_event_us) over last_{{ window }} as first_event_us_{{ window }}
        {%- endfor %}
    from snapshots
    left join customer_days
        on customer_days.customer_id = snapshots.customer_id
            and customer_days.day = snapshots.day
    window
        {%- for window in var('profile_windows') %}
        last_{{ window }} as (
            partition by snapshots.customer_id
            order by snapshots.day
            {{ days_frame(window) }}
        ){{ ',' if not loop.last }}
        {%- endfor %}

),

final as (

    select
        windowed.* exclude (is_due),
        first_days.first_event_us
        {%- for window in var('profile_windows') %},
        least({{ window_days(window) }}, windowed.day - {{ day_of('first_days.first_event_us') }} + 1) as observed_days_{{ window }}
        {%- endfor %}
    from windowed
    inner join first_days
        on first_days.customer_id = windowed.customer_id
    where windowed.is_due

)

select * from final
