with transactions as (

    select * from {{ ref('stg_landing__transactions') }}

),

-- The same payment may land twice: from a file and from the API. The first that landed wins.
first_landed as (

    select *
    from transactions
    qualify row_number() over (partition by transaction_id order by batch, source_order) = 1

),

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
    from first_landed

)

select * from final
