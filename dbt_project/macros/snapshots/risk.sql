{#
    Daily snapshots of fraud risk per `entity` (a column of a transaction), from labels known by then (law 5): over the payments of which
    that day's verdict became known in the last days, whenever they were made. The entity's own rate is shrunk to the overall rate of the
    same window with the weight of `risk_prior_weight` transactions. CTEs of a model, the last one is `risk`.
#}
{% macro risk_ctes(entity, prefix) -%}
{%- set windows = var('risk_windows') -%}
{%- set memory_days = window_days(windows[-1]) -%}
snapshot_days as (

    select * from {{ ref('int_snapshot_days') }}
    {{ due_snapshot_days() }}

),

label_changes as (

    select
        *,
        {{ day_of('known_us') }} as day
    from {{ ref('int_labels__changes') }}
    where {{ entity }} is not null and {{ seen_by_snapshots(day_of('known_us'), memory_days) }}

),

-- A payment counts on the day of its verdict.
verdicts as (

    select
        {{ entity }},
        transaction_id,
        known_us,
        day,
        cast({{ is_new_verdict() }} as bigint) as verdicts
    from label_changes

),

-- From another verdict on it doesn't count on the day of the one before.
replaced as (

    select
        {{ entity }},
        lag(day) over (partition by transaction_id order by known_us) as day,
        day as from_day
    from verdicts
    where verdicts = 1
        and transaction_id in (
            select label_changes.transaction_id
            from label_changes
            where label_changes.fraud_change != 0 and label_changes.label_change = 0
        )

),

known_days as (

    select
        {{ entity }},
        day,
        day as from_day,
        sum(verdicts) as labels
    from verdicts
    group by {{ entity }}, day
    union all
    select
        {{ entity }},
        day,
        from_day,
        -1 as labels
    from replaced
    where day is not null

),

-- A snapshot of each day from a label on, until the longest window has forgotten it.
remembered as (

    select
        {{ entity }},
        day,
        labels,
        {{ snapshots_between('from_day', 'day + ' ~ (memory_days + 1)) }} as snapshot_day
    from known_days

),

counted as (

    select
        {{ entity }},
        snapshot_day as day
        {%- for window in windows %},
        cast(coalesce(sum(labels) filter (where day > snapshot_day - {{ window_days(window) }}), 0) as bigint) as labels_{{ window }}
        {%- endfor %}
    from remembered
    group by {{ entity }}, snapshot_day

),

{{ fraud_day_ctes(entity, windows) }},

windowed as (

    select
        counted.*
        {%- for window in windows %},
        cast(coalesce(fraud_days.frauds_{{ window }}, 0) as bigint) as frauds_{{ window }}
        {%- endfor %}
    from counted
    left join fraud_days
        on fraud_days.{{ entity }} = counted.{{ entity }}
            and fraud_days.day = counted.day
    where counted.day in (select snapshot_days.day from snapshot_days)

),

-- Whoever has a label in a window has a row, so that the rows of a day add up to all labels of the windows.
overall as (

    select
        windowed.day
        {%- for window in windows %},
        {{ double('sum(windowed.frauds_' ~ window ~ ')') }} / nullif({{ double('sum(windowed.labels_' ~ window ~ ')') }}, 0) as fraud_rate_{{ window }}
        {%- endfor %}
    from windowed
    group by windowed.day

),

risk as (

    select
        windowed.{{ entity }},
        windowed.day,
        {{ counts_from('windowed.day') }} as event_timestamp
        {%- for window in windows %},
        windowed.labels_{{ window }} as {{ prefix }}_label_count_{{ window }},
        windowed.frauds_{{ window }} as {{ prefix }}_fraud_count_{{ window }},
        {{ shrunk(
            'windowed.frauds_' ~ window, 'windowed.labels_' ~ window, 'overall.fraud_rate_' ~ window, double(var('risk_prior_weight'))
        ) }} as {{ prefix }}_fraud_rate_{{ window }}
        {%- endfor %}
    from windowed
    inner join overall
        on overall.day = windowed.day

)
{%- endmacro %}

{#
    Frauds per `entity` (a column of a transaction) and day that are still held to be some at the day's end, and became known within each
    window. CTEs of a model that has the CTE `snapshot_days`, the last one is `fraud_days`.
#}
{% macro fraud_day_ctes(entity, windows) -%}
{%- set memory_days = window_days(windows[-1]) -%}
frauds as (

    select
        {{ entity }},
        {{ day_of('known_us') }} as known_day,
        {{ day_of('cleared_us') }} as cleared_day
    from {{ ref('int_frauds__spells') }}
    where {{ seen_by_snapshots(day_of('known_us'), memory_days) }}

),

-- Each fraud on the days on which it is held to be one, after it became known.
known_frauds as (

    select
        {{ entity }},
        known_day,
        {{ snapshots_between('known_day', 'least(known_day + ' ~ memory_days ~ ', coalesce(cleared_day, known_day + ' ~ memory_days ~ '))') }} as day
    from frauds

),

fraud_days as (

    select
        {{ entity }},
        day
        {%- for window in windows %},
        count(*) filter (where day < known_day + {{ window_days(window) }}) as frauds_{{ window }}
        {%- endfor %}
    from known_frauds
    group by {{ entity }}, day

)
{%- endmacro %}
