{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='transaction_id',
    post_hook="{{ record_build() }}",
) }}

with landed as (

    select
        transaction_id,
        is_fraud,
        known_us,
        source,
        batch
    from {{ ref('stg_landing__labels') }}
    {%- if is_incremental() %}
    where batch > {{ newest_batch(this) }}
    {%- endif %}

),

labels as (

    select * from landed
    {%- if is_incremental() %}
    union all
    -- What a new label corrects: all that was said of its transaction.
    select
        known.transaction_id,
        known.is_fraud,
        known.known_us,
        known.source,
        known.batch
    from {{ this }} as known
    semi join landed
        on landed.transaction_id = known.transaction_id
    {%- endif %}

),

-- Two sources may say the same thing at the same instant: the one that landed last is right.
deduped as (

    select *
    from labels
    qualify row_number() over (partition by transaction_id, known_us order by batch desc, source desc) = 1

),

-- A later label corrects an earlier one: what each changes, so that sums over known_us give what was known at any time.
changes as (

    select
        *,
        cast(is_fraud as bigint) - lag(cast(is_fraud as bigint), 1, 0) over by_transaction as fraud_change,
        case when row_number() over by_transaction = 1 then 1 else 0 end as label_change
    from deduped
    window by_transaction as (partition by transaction_id order by known_us)

),

final as (

    select
        transaction_id,
        known_us,
        is_fraud,
        cast(fraud_change as bigint) as fraud_change,
        cast(label_change as bigint) as label_change,
        source,
        batch
    from changes

)

select * from final
