with source as (

    select * from {{ landed('quarantine') }}

),

renamed as (

    select
        file,
        line,
        reason,
        content,
        {{ batch_of('filename') }} as batch
    from source

)

select * from renamed
