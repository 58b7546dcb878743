{{ config(materialized='view') }}

with transactions as (

    select * from {{ ref('int_transactions__deduped') }}

),

reports as (

    select * from {{ ref('int_labels__changes') }}
    where is_fraud and {{ is_timely_report('known_us', 'event_us') }}

),

-- A payment asks for its merchant's reports, a report belongs to nobody else's windows.
payments as (

    select
        transaction_id,
        {%- for column in payment_columns() %}
        {{ column }},
        {%- endfor %}
        merchant_id as reported_merchant_id
    from transactions

),

reported as (

    select
        known_us as event_us,
        merchant_id as reported_merchant_id,
        transaction_id as reported_id
    from reports

),

final as (

    select * from payments
    union all by name
    select * from reported

)

select * from final
