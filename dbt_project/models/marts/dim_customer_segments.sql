with segments as (

    select * from {{ ref('stg_segments__customers') }}

),

latest as (

    select
        *,
        row_number() over (partition by customer_id order by assigned_us desc) as newest_first
    from segments
    where assigned_us <= {{ as_of_us() }}

),

final as (

    select
        customer_id,
        segment_code,
        segment_name,
        segment_distance,
        segment_typicality,
        segment_x,
        segment_y,
        map_x,
        map_y,
        was_fitted,
        {{ timestamp_of('assigned_us') }} as assigned_at
    from latest
    where newest_first = 1

)

select * from final
