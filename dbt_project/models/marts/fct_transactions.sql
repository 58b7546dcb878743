{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='transaction_id',
    on_schema_change='fail',
    post_hook="{{ record_build(transactions=ref('int_transactions__deduped'), labels=ref('int_labels__changes')) }}",
) }}

with transactions as (

    select * from {{ ref('int_transactions__deduped') }}
    {%- if is_incremental() %}
    where batch > {{ consumed('transactions_batch') }}
        or transaction_id in (
            select labels.transaction_id
            from {{ ref('int_labels__changes') }} as labels
            where labels.batch > {{ consumed('labels_batch') }}
        )
    {%- endif %}

),

label_changes as (

    select * from {{ ref('int_labels__changes') }}
    {%- if is_incremental() %}
    where transaction_id in (select transactions.transaction_id from transactions)
    {%- endif %}

),

latest_labels as (

    select
        transaction_id,
        arg_max(is_fraud, known_us) as is_fraud,
        -- Since when it stands, however often it was said again.
        max(known_us) filter (where {{ is_new_verdict() }}) as label_known_us
    from label_changes
    group by transaction_id

),

final as (

    select
        transactions.transaction_id,
        transactions.customer_id,
        transactions.merchant_id,
        transactions.amount_minor,
        transactions.currency,
        transactions.category,
        transactions.channel,
        transactions.country,
        transactions.attributes_number,
        transactions.attributes_text,
        transactions.latitude,
        transactions.longitude,
        transactions.latitude_e6,
        transactions.longitude_e6,
        transactions.event_us,
        {{ timestamp_of('transactions.event_us') }} as event_timestamp,
        transactions.ingested_us,
        transactions.source,
        transactions.batch,
        latest_labels.is_fraud,
        latest_labels.label_known_us
    from transactions
    left join latest_labels
        on latest_labels.transaction_id = transactions.transaction_id

)

select * from final
