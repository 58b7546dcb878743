with source as (

    select * from {{ landed('transactions') }}

),

renamed as (

    select
        -- ids
        transaction_id,
        customer_id,
        merchant_id,

        -- what
        amount_minor,
        currency,
        category,
        channel,
        country,
        attributes_number,
        attributes_text,

        -- where
        latitude,
        longitude,
        cast(floor(latitude * 1000000 + 0.5) as bigint) as latitude_e6,
        cast(floor(longitude * 1000000 + 0.5) as bigint) as longitude_e6,

        -- when
        event_us,
        ingested_us,

        -- from
        source,
        {{ batch_of('filename') }} as batch,
        source_order
    from source

)

select * from renamed
