{% set windows = ['30d', '90d'] %}

with customer_days as (

    select * from {{ ref('int_customers__daily') }}

),

snapshot_days as (

    select * from {{ ref('int_snapshot_days') }}

),

customer_spans as (

    select
        customer_id,
        min(day) as first_day,
        max(day) + {{ window_days(var('profile_memory')) }} as last_day
    from customer_days
    group by customer_id

),

-- A row per customer and day, with or without transactions on it: the snapshot at the day's end.
snapshots as (

    select
        customer_spans.customer_id,
        snapshot_days.day
    from customer_spans
    inner join snapshot_days
        on snapshot_days.day between customer_spans.first_day and customer_spans.last_day

),

windowed as (

    select
        snapshots.customer_id,
        snapshots.day,
        min(customer_days.first_event_us) over ever as first_event_us,
        max(customer_days.last_event_us) over ever as last_event_us
        {%- for window in windows %},
        cast(count(customer_days.day) over last_{{ window }} as bigint) as active_days_{{ window }},
        cast(coalesce(sum(customer_days.transactions) over last_{{ window }}, 0) as bigint) as transactions_{{ window }},
        cast(sum(customer_days.amount_sum) over last_{{ window }} as bigint) as amount_sum_{{ window }},
        max(customer_days.amount_max) over last_{{ window }} as amount_max_{{ window }},
        cast(sum(customer_days.squares_high) over last_{{ window }} as bigint) as squares_high_{{ window }},
        cast(sum(customer_days.squares_middle) over last_{{ window }} as bigint) as squares_middle_{{ window }},
        cast(sum(customer_days.squares_low) over last_{{ window }} as bigint) as squares_low_{{ window }},
        cast(sum(customer_days.night_transactions) over last_{{ window }} as bigint) as night_transactions_{{ window }},
        cast(sum(customer_days.weekend_transactions) over last_{{ window }} as bigint) as weekend_transactions_{{ window }}
        {%- endfor %}
    from snapshots
    left join customer_days
        on customer_days.customer_id = snapshots.customer_id
            and customer_days.day = snapshots.day
    window
        ever as (partition by snapshots.customer_id order by snapshots.day)
        {%- for window in windows %},
        last_{{ window }} as (
            partition by snapshots.customer_id
            order by snapshots.day
            range between {{ window_days(window) - 1 }} preceding and current row
        )
        {%- endfor %}

),

varied as (

    select
        *,
        (day + 1) * {{ day_us() }} as snapshot_us
        {%- for window in windows %},
        {{ variance(
            'amount_sum_' ~ window, 'transactions_' ~ window,
            'squares_high_' ~ window, 'squares_middle_' ~ window, 'squares_low_' ~ window
        ) }} as amount_variance_{{ window }}
        {%- endfor %}
    from windowed

),

final as (

    select
        customer_id,
        {{ timestamp_of('snapshot_us + ' ~ window_us(var('profile_lag'))) }} as event_timestamp,
        {{ double('snapshot_us - first_event_us') }} / {{ double(day_us()) }} as profile_tenure_days,
        {{ double('snapshot_us - last_event_us') }} / {{ double(day_us()) }} as profile_recency_days
        {%- for window in windows %},
        transactions_{{ window }} as profile_transaction_count_{{ window }},
        active_days_{{ window }} as profile_active_days_{{ window }},
        {{ double('transactions_' ~ window) }} / {{ double(window_days(window)) }} as profile_transactions_per_day_{{ window }},
        {{ double('amount_sum_' ~ window) }} / nullif({{ double('transactions_' ~ window) }}, 0) as profile_amount_mean_{{ window }},
        sqrt(greatest(amount_variance_{{ window }}, 0)) as profile_amount_stddev_{{ window }},
        amount_max_{{ window }} as profile_amount_max_{{ window }},
        {{ double('night_transactions_' ~ window) }} / nullif({{ double('transactions_' ~ window) }}, 0) as profile_night_share_{{ window }},
        {{ double('weekend_transactions_' ~ window) }} / nullif({{ double('transactions_' ~ window) }}, 0) as profile_weekend_share_{{ window }}
        {%- endfor %}
    from varied

)

select * from final
