{#
    Daily snapshots of fraud risk per `entity` (a column of a transaction), from labels known by then (law 5): over the labels that became
    known in the last days, whatever the day of the payment. The entity's own rate is shrunk to the overall rate of the same window with
    the weight of `risk_prior_weight` transactions.
#}
{% macro risk_snapshots(entity, prefix, windows) -%}
with transactions as (

    select * from {{ ref('int_transactions__deduped') }}

),

label_changes as (

    select * from {{ ref('int_labels__changes') }}

),

snapshot_days as (

    select * from {{ ref('int_snapshot_days') }}

),

known_days as (

    select
        transactions.{{ entity }},
        cast({{ day_of('label_changes.known_us') }} as bigint) as day,
        sum(label_changes.label_change) as labels,
        sum(label_changes.fraud_change) as frauds
    from label_changes
    inner join transactions
        on transactions.transaction_id = label_changes.transaction_id
    where transactions.{{ entity }} is not null
    group by all

),

overall_days as (

    select
        day,
        sum(labels) as labels,
        sum(frauds) as frauds
    from known_days
    group by day

),

overall as (

    select
        snapshot_days.day
        {%- for window in windows %},
        sum(overall_days.labels) over last_{{ window }} as labels_{{ window }},
        sum(overall_days.frauds) over last_{{ window }} as frauds_{{ window }}
        {%- endfor %}
    from snapshot_days
    left join overall_days
        on overall_days.day = snapshot_days.day
    window
        {%- for window in windows %}
        last_{{ window }} as (
            order by snapshot_days.day range between {{ window_days(window) - 1 }} preceding and current row
        ){{ ',' if not loop.last }}
        {%- endfor %}

),

spans as (

    select
        {{ entity }},
        min(day) as first_day,
        max(day) + {{ window_days(windows[-1]) }} as last_day
    from known_days
    group by {{ entity }}

),

windowed as (

    select
        spans.{{ entity }},
        snapshot_days.day
        {%- for window in windows %},
        cast(coalesce(sum(known_days.labels) over last_{{ window }}, 0) as bigint) as labels_{{ window }},
        cast(coalesce(sum(known_days.frauds) over last_{{ window }}, 0) as bigint) as frauds_{{ window }}
        {%- endfor %}
    from spans
    inner join snapshot_days
        on snapshot_days.day between spans.first_day and spans.last_day
    left join known_days
        on known_days.{{ entity }} = spans.{{ entity }}
            and known_days.day = snapshot_days.day
    window
        {%- for window in windows %}
        last_{{ window }} as (
            partition by spans.{{ entity }}
            order by snapshot_days.day
            range between {{ window_days(window) - 1 }} preceding and current row
        ){{ ',' if not loop.last }}
        {%- endfor %}

),

final as (

    select
        windowed.{{ entity }},
        {{ timestamp_of('(windowed.day + 1) * ' ~ day_us() ~ ' + ' ~ window_us(var('profile_lag'))) }} as event_timestamp
        {%- for window in windows %},
        windowed.labels_{{ window }} as {{ prefix }}_label_count_{{ window }},
        windowed.frauds_{{ window }} as {{ prefix }}_fraud_count_{{ window }},
        (
            {{ double('windowed.frauds_' ~ window) }}
            + {{ double(var('risk_prior_weight')) }}
            * ({{ double('overall.frauds_' ~ window) }} / nullif({{ double('overall.labels_' ~ window) }}, 0))
        ) / ({{ double('windowed.labels_' ~ window) }} + {{ double(var('risk_prior_weight')) }}) as {{ prefix }}_fraud_rate_{{ window }}
        {%- endfor %}
    from windowed
    inner join overall
        on overall.day = windowed.day

)

select * from final
{%- endmacro %}
