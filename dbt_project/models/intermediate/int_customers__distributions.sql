{{ config(materialized='daily') }}

{% set windows = var('profile_windows') %}
{% set memory_days = window_days(var('profile_memory')) %}

with snapshot_days as (

    select * from {{ ref('int_snapshot_days') }}
    {{ due_snapshot_days() }}

),

customer_windows as (

    select * from {{ ref('int_customers__windows') }}
    where {{ seen_by_snapshots('day', 0) }}

),

transactions as (

    select * from {{ ref('int_transactions__deduped') }}
    where customer_id is not null and {{ seen_by_snapshots(day_of('event_us'), memory_days) }}

),

-- Small numbers for names: which number is whose doesn't matter, and null stays null.
numbered as (

    select
        customer_id,
        event_us,
        transaction_id,
        amount_minor,
        event_us - lag(event_us) over in_time as gap_us,
        cast(case when merchant_id is not null then dense_rank() over (partition by customer_id order by merchant_id) end as integer) as merchant,
        cast(case when category is not null then dense_rank() over (partition by customer_id order by category) end as integer) as category
    from transactions
    window in_time as (partition by customer_id order by event_us, transaction_id)

),

-- All transactions of a customer in one row, in order: a window is a slice of it.
listed as (

    select
        customer_id,
        list(amount_minor order by event_us, transaction_id) as amounts,
        list(gap_us order by event_us, transaction_id) as gaps_us,
        list(merchant order by event_us, transaction_id) as merchants,
        list(category order by event_us, transaction_id) as categories
    from numbered
    group by customer_id

),

-- How far into the list a day's end is.
positions as (

    select
        customer_id,
        {{ day_of('event_us') }} as day,
        cast(sum(count(*)) over (partition by customer_id order by {{ day_of('event_us') }}) as bigint) as position
    from transactions
    group by customer_id, {{ day_of('event_us') }}

),

sliced as (

    select
        customer_windows.customer_id,
        customer_windows.day
        {%- for window in windows %}
        {%- set before = 'positions.position - customer_windows.transactions_' ~ window %},
        customer_windows.transactions_{{ window }},
        customer_windows.amount_sum_{{ window }},
        {{ whole_squares(
            'customer_windows.squares_high_' ~ window, 'customer_windows.squares_middle_' ~ window, 'customer_windows.squares_low_' ~ window
        ) }} as amount_squares_{{ window }},
        listed.amounts[{{ before }} + 1:positions.position] as amounts_{{ window }},
        -- The gap before the window's first transaction began outside.
        listed.gaps_us[{{ before }} + 2:positions.position] as gaps_us_{{ window }},
        listed.merchants[{{ before }} + 1:positions.position] as merchants_{{ window }},
        listed.categories[{{ before }} + 1:positions.position] as categories_{{ window }}
        {%- endfor %}
    from customer_windows
    asof join positions
        on positions.customer_id = customer_windows.customer_id
            and positions.day <= customer_windows.day
    inner join listed
        on listed.customer_id = customer_windows.customer_id

),

counted as (

    select
        customer_id,
        day
        {%- for window in windows %},
        transactions_{{ window }},
        amount_sum_{{ window }},
        amount_squares_{{ window }},
        amounts_{{ window }},
        list_aggregate(amounts_{{ window }}, 'quantile_disc', [0.5, 0.95]) as quantiles_{{ window }},
        list_max(gaps_us_{{ window }}) as gap_max_us_{{ window }},
        map_values(list_aggregate(merchants_{{ window }}, 'histogram')) as merchant_counts_{{ window }},
        list_sort(map_values(list_aggregate(categories_{{ window }}, 'histogram'))) as category_counts_{{ window }}
        {%- endfor %}
    from sliced

),

-- Those that are trimmed are few.
trimmed as (

    select
        *
        {%- for window in windows %},
        list_filter(amounts_{{ window }}, lambda amount: not {{ is_usual_amount('amount', 'quantiles_' ~ window ~ '[1]') }}) as unusual_amounts_{{ window }}
        {%- endfor %}
    from counted

),

final as (

    select
        customer_id,
        day
        {%- for window in windows %},
        quantiles_{{ window }}[1] as amount_median_{{ window }},
        quantiles_{{ window }}[2] as amount_p95_{{ window }},
        cast(transactions_{{ window }} - coalesce(len(unusual_amounts_{{ window }}), 0) as bigint) as usual_transactions_{{ window }},
        cast(amount_sum_{{ window }} - coalesce(list_sum(unusual_amounts_{{ window }}), 0) as bigint) as usual_amount_sum_{{ window }},
        amount_squares_{{ window }}
        - coalesce(list_sum(list_transform(unusual_amounts_{{ window }}, lambda amount: cast(amount as hugeint) * amount)), 0) as usual_amount_squares_{{ window }},
        gap_max_us_{{ window }},
        cast(coalesce(len(merchant_counts_{{ window }}), 0) as bigint) as merchants_{{ window }},
        cast(list_sum(merchant_counts_{{ window }}) as bigint) as merchant_transactions_{{ window }},
        cast(list_max(merchant_counts_{{ window }}) as bigint) as top_merchant_transactions_{{ window }},
        {{ entropy('category_counts_' ~ window) }} as category_entropy_{{ window }}
        {%- endfor %}
    from trimmed

)

select * from final
