{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='transaction_id',
    on_schema_change='fail',
    post_hook="{{ record_build(transactions=ref('int_transactions__deduped'), labels=this) }}",
) }}

with transactions as (

    select * from {{ ref('int_transactions__deduped') }}

),

landed as (

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
{%- if is_incremental() %}

-- What a new label may correct, and what was known of a payment before it landed itself.
touched as (

    select landed.transaction_id from landed
    union
    select transactions.transaction_id from transactions
    where transactions.batch > {{ consumed('transactions_batch') }}

),
{%- endif %}

labels as (

    select * from landed
    {%- if is_incremental() %}
    union all
    select
        known.transaction_id,
        known.is_fraud,
        known.known_us,
        known.source,
        known.batch
    from {{ this }} as known
    semi join touched
        on touched.transaction_id = known.transaction_id
    {%- endif %}

),

placed as (

    select
        labels.transaction_id,
        transactions.customer_id,
        transactions.merchant_id,
        transactions.category,
        transactions.amount_minor,
        transactions.event_us,
        -- Nobody knows what a payment is before it is made; of one that hasn't landed any time may be right.
        greatest(labels.known_us, transactions.event_us) as known_us,
        labels.is_fraud,
        labels.source,
        labels.batch,
        transactions.batch as transaction_batch
    from labels
    left join transactions
        on transactions.transaction_id = labels.transaction_id

),

-- Two labels may be of the same instant: the one that landed last is right, of those that landed at once the one that says fraud.
deduped as (

    select *
    from placed
    qualify row_number() over (partition by transaction_id, known_us order by batch desc, source desc, is_fraud desc) = 1

),

-- A later label corrects an earlier one: what each changes, so that sums over known_us give what was known at any time.
changes as (

    select
        *,
        cast(is_fraud as bigint) - lag(cast(is_fraud as bigint), 1, 0) over by_transaction as fraud_change,
        case when row_number() over by_transaction = 1 then 1 else 0 end as label_change,
        lead(known_us) over by_transaction as next_known_us
    from deduped
    window by_transaction as (partition by transaction_id order by known_us)

),

final as (

    select
        transaction_id,
        customer_id,
        merchant_id,
        category,
        amount_minor,
        event_us,
        known_us,
        next_known_us,
        is_fraud,
        cast(fraud_change as bigint) as fraud_change,
        cast(label_change as bigint) as label_change,
        source,
        batch,
        transaction_batch
    from changes

)

select * from final
