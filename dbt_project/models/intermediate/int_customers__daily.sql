{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='fail',
    pre_hook="{{ delete_due_days(ref('int_transactions__deduped')) }}",
    post_hook="{{ record_build(transactions=ref('int_transactions__deduped')) }}",
) }}

with transactions as (

    select * from {{ ref('int_transactions__deduped') }}
    {%- if is_incremental() %}
    where event_us >= {{ first_due_day(ref('int_transactions__deduped')) }} * {{ day_us() }}
    {%- endif %}

),

known_customers as (

    select
        *,
        {{ day_of('event_us') }} as day,
        event_us % {{ day_us() }} // {{ window_us('1h') }} as hour,
        -- 1970-01-01 was a Thursday: days 2 and 3 of a week that starts there are Saturday and Sunday.
        {{ day_of('event_us') }} % 7 in (2, 3) as is_weekend,
        event_us - lag(event_us) over within_day as gap_us
    from transactions
    where customer_id is not null
    window within_day as (partition by customer_id, {{ day_of('event_us') }} order by event_us)

),

final as (

    select
        customer_id,
        cast(day as bigint) as day,
        cast(count(*) as bigint) as transactions,
        cast(sum(amount_minor) as bigint) as amount_sum,
        max(amount_minor) as amount_max,
        cast({{ part_aggregate('squares_high', 'amount_minor') }} as bigint) as squares_high,
        cast({{ part_aggregate('squares_middle', 'amount_minor') }} as bigint) as squares_middle,
        cast({{ part_aggregate('squares_low', 'amount_minor') }} as bigint) as squares_low,
        {%- for part, hours in var('parts_of_day').items() %}
        cast(count(*) filter (where hour >= {{ hours[0] }} and hour < {{ hours[1] }}) as bigint) as {{ part }}_transactions,
        {%- endfor %}
        cast(count(*) filter (where is_weekend) as bigint) as weekend_transactions,
        min(event_us) as first_event_us,
        max(event_us) as last_event_us,
        max(gap_us) as gap_max_us
    from known_customers
    group by customer_id, day

)

select * from final
