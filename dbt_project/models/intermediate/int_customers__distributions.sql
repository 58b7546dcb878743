{{ config(materialized='daily', slice_by='customer_id', memory=var('profile_memory')) }}

{% set windows = var('profile_windows') %}
{% set memory_days = window_days(var('profile_memory')) %}

with snapshot_days as (

    select * from {{ ref('int_snapshot_days') }}
    {{ due_snapshot_days() }}

),

customer_windows as (

    select * from {{ ref('int_customers__windows') }}
    where {{ is_in_slice('customer_id') }} and {{ seen_by_snapshots('day', 0) }}

),

transactions as (

    select * from {{ ref('int_transactions__deduped') }}
    where customer_id is not null and {{ is_in_slice('customer_id') }} and {{ seen_by_snapshots(day_of('event_us'), memory_days) }}

),

-- Numbers for names: which number is whose doesn't matter.
{%- for column in ('merchant_id', 'category') %}
numbered_{{ column }} as (

    select
        {{ column }},
        cast(row_number() over () as integer) as number
    from transactions
    where {{ column }} is not null
    group by {{ column }}

),
{%- endfor %}

-- All transactions of a customer in one row, by day: a window is a slice of it.
listed as (

    select
        transactions.customer_id,
        list_sort(list({
            'day': {{ day_of('transactions.event_us') }},
            'amount': transactions.amount_minor,
            'merchant': numbered_merchant_id.number,
            'category': numbered_category.number
        })) as transactions
    from transactions
    left join numbered_merchant_id
        on numbered_merchant_id.merchant_id = transactions.merchant_id
    left join numbered_category
        on numbered_category.category = transactions.category
    group by transactions.customer_id

),

parted as (

    select
        customer_id,
        list_transform(transactions, lambda one: one.amount) as amounts,
        list_transform(transactions, lambda one: one.merchant) as merchants,
        list_transform(transactions, lambda one: one.category) as categories
    from listed

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
        parted.amounts[{{ before }} + 1:positions.position] as amounts_{{ window }},
        parted.merchants[{{ before }} + 1:positions.position] as merchants_{{ window }},
        parted.categories[{{ before }} + 1:positions.position] as categories_{{ window }}
        {%- endfor %}
    from customer_windows
    asof join positions
        on positions.customer_id = customer_windows.customer_id
            and positions.day <= customer_windows.day
    inner join parted
        on parted.customer_id = customer_windows.customer_id

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
        cast(coalesce(len(merchant_counts_{{ window }}), 0) as bigint) as merchants_{{ window }},
        cast(list_sum(merchant_counts_{{ window }}) as bigint) as merchant_transactions_{{ window }},
        cast(list_max(merchant_counts_{{ window }}) as bigint) as top_merchant_transactions_{{ window }},
        {{ entropy('category_counts_' ~ window) }} as category_entropy_{{ window }}
        {%- endfor %}
    from trimmed

)

-- By days, as they are looked up.
select * from final
order by day
