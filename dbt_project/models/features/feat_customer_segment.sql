with segments as (

    select * from {{ ref('stg_segments__customers') }}

),

final as (

    select
        customer_id,
        {{ timestamp_of('assigned_us') }} as event_timestamp,
        segment_code,
        segment_distance,
        segment_typicality,
        segment_x,
        segment_y
    from segments

)

select * from final
