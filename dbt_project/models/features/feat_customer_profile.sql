{{ config(materialized='daily') }}

{% set windows = var('profile_windows') %}

with snapshot_days as (

    select * from {{ ref('int_snapshot_days') }}
    {{ due_snapshot_days() }}

),

customer_windows as (

    select * from {{ ref('int_customers__windows') }}
    where {{ seen_by_snapshots('day', 0) }}

),

customer_distributions as (

    select * from {{ ref('int_customers__distributions') }}
    where {{ seen_by_snapshots('day', 0) }}

),

population as (

    select * from {{ ref('int_population__daily') }}
    where {{ seen_by_snapshots('day', 0) }}

),

{{ fraud_day_ctes('customer_id', windows) }},

joined as (

    select
        customer_windows.*,
        (customer_windows.day + 1) * {{ day_us() }} as snapshot_us,
        customer_distributions.* exclude (customer_id, day),
        population.* exclude (day)
        {%- for window in windows %},
        cast(coalesce(fraud_days.frauds_{{ window }}, 0) as bigint) as frauds_{{ window }},
        {{ variance(
            'amount_sum_' ~ window, 'transactions_' ~ window,
            'squares_high_' ~ window, 'squares_middle_' ~ window, 'squares_low_' ~ window
        ) }} as own_amount_variance_{{ window }},
        coalesce({{ amount_squares_within(window) }}, 0) as amount_squares_within_{{ window }}
        {%- endfor %}
    from customer_windows
    inner join customer_distributions
        on customer_distributions.customer_id = customer_windows.customer_id
            and customer_distributions.day = customer_windows.day
    inner join population
        on population.day = customer_windows.day
    left join fraud_days
        on fraud_days.customer_id = customer_windows.customer_id
            and fraud_days.day = customer_windows.day

),

final as (

    select
        customer_id,
        {{ counts_from('day') }} as event_timestamp,
        {{ double('snapshot_us - first_event_us') }} / {{ double(day_us()) }} as profile_tenure_days,
        {{ double('snapshot_us - last_event_us') }} / {{ double(day_us()) }} as profile_recency_days
        {%- for window in windows %}
        {%- set transactions = 'transactions_' ~ window %},
        {{ transactions }} as profile_transaction_count_{{ window }},
        active_days_{{ window }} as profile_active_days_{{ window }},
        {{ double(transactions) }} / {{ double(window_days(window)) }} as profile_transactions_per_day_{{ window }},
        {{ shrunk(
            transactions, 'observed_days_' ~ window, 'transactions_per_day_' ~ window, 'transactions_per_day_prior_weight_' ~ window
        ) }} as profile_shrunk_transactions_per_day_{{ window }},
        {{ own_weight('observed_days_' ~ window, 'transactions_per_day_prior_weight_' ~ window) }} as profile_transactions_per_day_weight_{{ window }},
        {{ double('amount_sum_' ~ window) }} / nullif({{ double(transactions) }}, 0) as profile_amount_mean_{{ window }},
        {{ shrunk(
            'coalesce(amount_sum_' ~ window ~ ', 0)', transactions, 'amount_mean_' ~ window, 'amount_mean_prior_weight_' ~ window
        ) }} as profile_amount_shrunk_mean_{{ window }},
        {{ own_weight(transactions, 'amount_mean_prior_weight_' ~ window) }} as profile_amount_mean_weight_{{ window }},
        {{ shrunk(
            'coalesce(usual_amount_sum_' ~ window ~ ', 0)', 'usual_transactions_' ~ window,
            'amount_robust_mean_' ~ window, 'amount_prior_weight_' ~ window
        ) }} as profile_amount_robust_mean_{{ window }},
        {{ own_weight('usual_transactions_' ~ window, 'amount_prior_weight_' ~ window) }} as profile_amount_weight_{{ window }},
        sqrt(case when own_amount_variance_{{ window }} < 0 then 0 else own_amount_variance_{{ window }} end) as profile_amount_stddev_{{ window }},
        sqrt({{ shrunk(
            'amount_squares_within_' ~ window, freedom(transactions),
            'amount_variance_' ~ window, 'amount_variance_prior_weight_' ~ window
        ) }}) as profile_amount_shrunk_stddev_{{ window }},
        {{ own_weight(freedom(transactions), 'amount_variance_prior_weight_' ~ window) }} as profile_amount_stddev_weight_{{ window }},
        amount_median_{{ window }} as profile_amount_median_{{ window }},
        amount_p95_{{ window }} as profile_amount_p95_{{ window }},
        amount_max_{{ window }} as profile_amount_max_{{ window }},
        {%- for part in var('parts_of_day') %}
        {{ shrunk(
            'coalesce(' ~ part ~ '_transactions_' ~ window ~ ', 0)', transactions,
            part ~ '_share_' ~ window, 'part_of_day_prior_weight_' ~ window
        ) }} as profile_{{ part }}_share_{{ window }},
        {%- endfor %}
        {{ own_weight(transactions, 'part_of_day_prior_weight_' ~ window) }} as profile_part_of_day_weight_{{ window }},
        {{ shrunk(
            'coalesce(weekend_transactions_' ~ window ~ ', 0)', transactions,
            'weekend_share_' ~ window, 'weekend_prior_weight_' ~ window
        ) }} as profile_weekend_share_{{ window }},
        {{ own_weight(transactions, 'weekend_prior_weight_' ~ window) }} as profile_weekend_weight_{{ window }},
        case
            when {{ transactions }} > 1
                then {{ double('last_event_us - first_event_us_' ~ window) }} / {{ double(transactions ~ ' - 1') }} / {{ double('1000000') }}
        end as profile_gap_seconds_mean_{{ window }},
        {{ double('gap_max_us_' ~ window) }} / {{ double('1000000') }} as profile_gap_seconds_max_{{ window }},
        merchants_{{ window }} as profile_merchant_distinct_{{ window }},
        {{ double('top_merchant_transactions_' ~ window) }} / nullif({{ double('merchant_transactions_' ~ window) }}, 0) as profile_top_merchant_share_{{ window }},
        category_entropy_{{ window }} as profile_category_entropy_{{ window }},
        frauds_{{ window }} as profile_fraud_count_{{ window }}
        {%- endfor %}
    from joined

)

select * from final
