{{ config(materialized='daily') }}

with {{ risk_ctes('merchant_id', 'merchant_risk') }},

merchant_frauds as (

    select * from {{ ref('int_merchants__frauds') }}
    where {{ seen_by_snapshots('day', 0) }}

),

merchant_streaks as (

    select * from {{ ref('int_merchants__streaks') }}
    where {{ seen_by_snapshots('day', 0) }}

),

final as (

    select
        risk.* exclude (day)
        {%- for window in var('risk_windows') %},
        cast(coalesce(merchant_frauds.unexplained_{{ window }}, 0) as bigint) as merchant_risk_unexplained_count_{{ window }}
        {%- endfor %},
        merchant_frauds.run_frauds as merchant_risk_run_fraud_count,
        {{ double('(risk.day + 1) * ' ~ day_us() ~ ' - merchant_frauds.run_first_us') }} / {{ double(day_us()) }} as merchant_risk_run_age_days,
        {{ double('merchant_frauds.run_last_us - merchant_frauds.run_first_us') }} / {{ double(day_us()) }} as merchant_risk_run_length_days,
        merchant_streaks.streak_frauds as merchant_risk_streak_fraud_count,
        {{ double('(risk.day + 1) * ' ~ day_us() ~ ' - merchant_streaks.streak_first_us') }} / {{ double(day_us()) }} as merchant_risk_streak_age_days,
        {{ double('(risk.day + 1) * ' ~ day_us() ~ ' - merchant_streaks.genuine_us') }} / {{ double(day_us()) }} as merchant_risk_genuine_age_days
    from risk
    left join merchant_frauds
        on merchant_frauds.merchant_id = risk.merchant_id
            and merchant_frauds.day = risk.day
    left join merchant_streaks
        on merchant_streaks.merchant_id = risk.merchant_id
            and merchant_streaks.day = risk.day

)

select * from final
