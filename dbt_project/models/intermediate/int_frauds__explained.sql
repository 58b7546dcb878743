with frauds as (

    select * from {{ ref('int_frauds__spells') }}

),

profiles as (

    select
        customer_id,
        event_timestamp,
        profile_amount_robust_mean_90d,
        profile_amount_p95_90d
    from {{ ref('feat_customer_profile') }}
    where customer_id in (select frauds.customer_id from frauds)

),

-- The profile that counted when the payment was made, if it wasn't stale.
profiled as (

    select
        frauds.transaction_id,
        frauds.merchant_id,
        frauds.event_us,
        frauds.amount_minor,
        frauds.known_us,
        frauds.cleared_us,
        case
            when frauds.event_us - epoch_us(profiles.event_timestamp) <= {{ window_us(var('profile_ttl')) }}
                then profiles.profile_amount_robust_mean_90d
        end as robust_mean,
        case
            when frauds.event_us - epoch_us(profiles.event_timestamp) <= {{ window_us(var('profile_ttl')) }}
                then profiles.profile_amount_p95_90d
        end as p95
    from frauds
    asof left join profiles
        on profiles.customer_id = frauds.customer_id
            and profiles.event_timestamp <= {{ timestamp_of('frauds.event_us') }}

),

final as (

    select
        transaction_id,
        merchant_id,
        event_us,
        known_us,
        cleared_us,
        coalesce(not {{ is_usual_amount(double('amount_minor'), 'robust_mean') }} or amount_minor > p95, false) as is_explained
    from profiled

)

select * from final
