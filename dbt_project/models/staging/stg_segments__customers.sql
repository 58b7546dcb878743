with source as (

    select * from {{ segments_file() }}

),

renamed as (

    select
        -- ids
        customer_id,

        -- what the clustering said
        code as segment_code,
        name as segment_name,
        distance as segment_distance,
        typicality as segment_typicality,
        x as segment_x,
        y as segment_y,
        map_x,
        map_y,
        was_fitted,

        -- timestamps
        assigned_us
    from source

)

select * from renamed
