{#- Velocity features of the events with arrival_seq from :first_seq to :last_seq, over the live store. Compiled text; never edited. -#}
-- live_horizon_us = {{ velocity_horizon_us() }}
with claimed as not materialized (
    select
        *,
        merchant_id as reported_merchant_id,
        {{ place_of('latitude_e6', 'longitude_e6') }} as place
    from events
    where arrival_seq between :first_seq and :last_seq
),
{% for entity in velocity_entities() %}
{{ entity }}_parts as materialized (
    {{ live_parts(entity) | indent(4) }}
),
{% endfor %}
parts as (
    select *
    from claimed
    {%- for entity in velocity_entities() %}
    inner join {{ entity }}_parts on {{ entity }}_parts.seq = claimed.arrival_seq
    {%- endfor %}
),
{{ finishing_ctes('parts', materialized=true) }}

select
    arrival_seq,
    {{ finished_features() | indent(4) }}
from finishing
order by arrival_seq
