with source as (

    select * from {{ segments_file() }}

),

renamed as (

    select
        -- ids
        customer_id,

        -- what the clustering said
        segment_code,
        segment_name,
        segment_distance,
        segment_typicality,
        segment_x,
        segment_y,
        map_x,
        map_y,
        was_fitted,

        -- timestamps
        assigned_us
    from source

)

select * from renamed
