with reports as (

    select * from {{ ref('int_frauds__reports') }}

),

final as (

    select
        transaction_id,
        merchant_id,
        event_us,
        known_us
    from reports

)

select * from final
