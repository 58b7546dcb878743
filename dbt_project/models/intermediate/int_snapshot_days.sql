with transactions as (

    select * from {{ ref('int_transactions__deduped') }}

),

bounds as (

    select
        {{ day_of('min(event_us)') }} as first_day,
        {{ day_of('max(event_us)') }} as last_day,
        {{ day_of(as_of_us()) }} as today
    from transactions

),

-- A day's snapshot holds the day whole, so today has none yet.
final as (

    select cast(unnest(range(first_day, least(last_day, today - 1) + 1)) as bigint) as day
    from bounds

)

select * from final
