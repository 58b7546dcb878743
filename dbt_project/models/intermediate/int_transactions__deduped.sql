{{ config(
    materialized='incremental',
    incremental_strategy='append',
    post_hook="{{ record_build(transactions=this) }}",
) }}

with transactions as (

    select * from {{ ref('stg_landing__transactions') }}
    {%- if is_incremental() %}
    where batch > {{ newest_batch(this) }}
    {%- endif %}

),

-- The same payment may land twice: from a file and from the API. The first that landed wins.
first_landed as (

    select *
    from transactions
    qualify row_number() over (partition by transaction_id order by batch, source_order) = 1

),
{%- if is_incremental() %}

-- Lower batches are here already, and win.
unknown as (

    select first_landed.*
    from first_landed
    anti join {{ this }} as known
        on known.transaction_id = first_landed.transaction_id

),
{%- endif %}

final as (

    select
        transaction_id,
        customer_id,
        merchant_id,
        amount_minor,
        currency,
        category,
        channel,
        country,
        attributes_number,
        attributes_text,
        latitude,
        longitude,
        latitude_e6,
        longitude_e6,
        {{ place_of('latitude_e6', 'longitude_e6') }} as place,
        event_us,
        ingested_us,
        source,
        batch
    from {{ 'unknown' if is_incremental() else 'first_landed' }}

)

select * from final
