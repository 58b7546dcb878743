{{ config(materialized='daily') }}

with {{ risk_ctes('category', 'category_risk') }},

final as (

    select * exclude (day)
    from risk

)

select * from final
