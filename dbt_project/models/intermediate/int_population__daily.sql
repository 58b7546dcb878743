{{ config(materialized='daily') }}

{% set windows = var('profile_windows') %}
{% set parts = var('parts_of_day') %}

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

-- What each customer explains of the squares, as whole numbers.
explained as (

    select
        customer_windows.*,
        customer_distributions.* exclude (customer_id, day)
        {%- for window in windows %},
        {%- set hits = [] %}
        {%- for part in parts %}{% do hits.append(part ~ '_transactions_' ~ window) %}{% endfor %}
        {{ whole(explained_squares(['transactions_' ~ window], 'observed_days_' ~ window) ~ ' * ' ~ share_scale()) }} as own_day_squares_{{ window }},
        cast(coalesce(transactions_squared_{{ window }}, 0) as hugeint) * {{ share_scale() }} as day_squares_{{ window }},
        {{ whole(explained_squares(['amount_sum_' ~ window], 'transactions_' ~ window)) }} as own_amount_squares_{{ window }},
        {{ amount_squares_within(window) }} as amount_squares_within_{{ window }},
        {{ whole(explained_squares(['usual_amount_sum_' ~ window], 'usual_transactions_' ~ window)) }} as own_usual_squares_{{ window }},
        {{ whole(explained_squares(hits, 'transactions_' ~ window) ~ ' * ' ~ share_scale()) }} as own_part_squares_{{ window }},
        {{ whole(explained_squares(
            ['weekend_transactions_' ~ window, '(transactions_' ~ window ~ ' - weekend_transactions_' ~ window ~ ')'],
            'transactions_' ~ window
        ) ~ ' * ' ~ share_scale()) }} as own_weekend_squares_{{ window }}
        {%- endfor %}
    from customer_windows
    inner join customer_distributions
        on customer_distributions.customer_id = customer_windows.customer_id
            and customer_distributions.day = customer_windows.day

),

summed as (

    select
        day,
        count(*) as customers
        {%- for window in windows %},
        count(*) filter (where transactions_{{ window }} > 0) as customers_{{ window }},
        sum(observed_days_{{ window }}) as observed_days_{{ window }},
        sum(cast(observed_days_{{ window }} as hugeint) * observed_days_{{ window }}) as observed_days_squared_{{ window }},
        sum(greatest(day_squares_{{ window }} - own_day_squares_{{ window }}, 0)) as day_squares_within_{{ window }},
        sum(own_day_squares_{{ window }}) as own_day_squares_{{ window }},
        sum(transactions_{{ window }}) as transactions_{{ window }},
        sum(cast(transactions_{{ window }} as hugeint) * transactions_{{ window }}) as transactions_squared_{{ window }},
        sum(cast(amount_sum_{{ window }} as hugeint)) as amount_sum_{{ window }},
        sum(amount_squares_within_{{ window }}) as amount_squares_within_{{ window }},
        sum(own_amount_squares_{{ window }}) as own_amount_squares_{{ window }},
        sum(usual_transactions_{{ window }}) as usual_transactions_{{ window }},
        sum(cast(usual_transactions_{{ window }} as hugeint) * usual_transactions_{{ window }}) as usual_transactions_squared_{{ window }},
        sum(cast(usual_amount_sum_{{ window }} as hugeint)) as usual_amount_sum_{{ window }},
        sum(greatest(usual_amount_squares_{{ window }} - own_usual_squares_{{ window }}, 0)) as usual_squares_within_{{ window }},
        sum(own_usual_squares_{{ window }}) as own_usual_squares_{{ window }},
        {%- for part in parts %}
        sum({{ part }}_transactions_{{ window }}) as {{ part }}_transactions_{{ window }},
        {%- endfor %}
        sum(own_part_squares_{{ window }}) as own_part_squares_{{ window }},
        sum(weekend_transactions_{{ window }}) as weekend_transactions_{{ window }},
        sum(own_weekend_squares_{{ window }}) as own_weekend_squares_{{ window }}
        {%- endfor %}
    from explained
    group by day

),

pooled as (

    select
        *
        {%- for window in windows %},
        {{ double('amount_squares_within_' ~ window) }}
        / nullif({{ double('transactions_' ~ window ~ ' - customers_' ~ window) }}, 0) as amount_variance_{{ window }}
        {%- endfor %}
    from summed

),

-- How much customers' variances differ, as multiples of the pooled one.
varied as (

    select
        explained.day
        {%- for window in windows %},
        sum({{ whole(squared_variance(
            'explained.amount_squares_within_' ~ window, freedom('explained.transactions_' ~ window), 'pooled.amount_variance_' ~ window
        ) ~ ' * ' ~ share_scale()) }}) as squared_variances_{{ window }}
        {%- endfor %}
    from explained
    inner join pooled
        on pooled.day = explained.day
    group by explained.day

),

final as (

    select
        pooled.day
        {%- for window in windows %},
        {%- set hits = [] %}
        {%- for part in parts %}{% do hits.append(part ~ '_transactions_' ~ window) %}{% endfor %}
        {%- set transactions = 'transactions_' ~ window %}
        {{ double(transactions) }} / nullif({{ double('observed_days_' ~ window) }}, 0) as transactions_per_day_{{ window }},
        {{ prior_weight(
            'day_squares_within_' ~ window,
            'own_day_squares_' ~ window,
            explained_squares([transactions], 'observed_days_' ~ window) ~ ' * ' ~ share_scale(),
            'observed_days_' ~ window, 'observed_days_squared_' ~ window, 'customers'
        ) }} as transactions_per_day_prior_weight_{{ window }},
        {{ double('amount_sum_' ~ window) }} / nullif({{ double(transactions) }}, 0) as amount_mean_{{ window }},
        {{ prior_weight(
            'amount_squares_within_' ~ window,
            'own_amount_squares_' ~ window,
            explained_squares(['amount_sum_' ~ window], transactions),
            transactions, 'transactions_squared_' ~ window, 'customers_' ~ window
        ) }} as amount_mean_prior_weight_{{ window }},
        amount_variance_{{ window }},
        {{ variance_prior_weight(
            '(' ~ double('squared_variances_' ~ window) ~ ' / nullif('
            ~ double('(' ~ transactions ~ ' - customers_' ~ window ~ ') * ' ~ share_scale()) ~ ', 0))'
        ) }} as amount_variance_prior_weight_{{ window }},
        {{ double('usual_amount_sum_' ~ window) }} / nullif({{ double('usual_transactions_' ~ window) }}, 0) as amount_robust_mean_{{ window }},
        {{ prior_weight(
            'usual_squares_within_' ~ window,
            'own_usual_squares_' ~ window,
            explained_squares(['usual_amount_sum_' ~ window], 'usual_transactions_' ~ window),
            'usual_transactions_' ~ window, 'usual_transactions_squared_' ~ window, 'customers_' ~ window
        ) }} as amount_prior_weight_{{ window }},
        {%- for part in parts %}
        {{ double(part ~ '_transactions_' ~ window) }} / nullif({{ double(transactions) }}, 0) as {{ part }}_share_{{ window }},
        {%- endfor %}
        {{ prior_weight(
            transactions ~ ' * ' ~ share_scale() ~ ' - own_part_squares_' ~ window,
            'own_part_squares_' ~ window,
            explained_squares(hits, transactions) ~ ' * ' ~ share_scale(),
            transactions, 'transactions_squared_' ~ window, 'customers_' ~ window
        ) }} as part_of_day_prior_weight_{{ window }},
        {{ double('weekend_transactions_' ~ window) }} / nullif({{ double(transactions) }}, 0) as weekend_share_{{ window }},
        {{ prior_weight(
            transactions ~ ' * ' ~ share_scale() ~ ' - own_weekend_squares_' ~ window,
            'own_weekend_squares_' ~ window,
            explained_squares(
                ['weekend_transactions_' ~ window, '(' ~ transactions ~ ' - weekend_transactions_' ~ window ~ ')'], transactions
            ) ~ ' * ' ~ share_scale(),
            transactions, 'transactions_squared_' ~ window, 'customers_' ~ window
        ) }} as weekend_prior_weight_{{ window }}
        {%- endfor %}
    from pooled
    inner join varied
        on varied.day = pooled.day

)

select * from final
