with source as (

    select * from {{ landed('labels') }}

),

renamed as (

    select
        transaction_id,
        is_fraud,
        known_us,
        source,
        {{ batch_of('filename') }} as batch
    from source

)

select * from renamed
