{#
    A place is latitude and longitude in one int64, in micro-degrees: (latitude + 90) * 400000000 + (longitude + 180). One number is
    compared and ordered alike by every engine.
#}
{% macro place_of(latitude_e6, longitude_e6) -%}
    (({{ latitude_e6 }} + 90000000) * 400000000 + ({{ longitude_e6 }} + 180000000))
{%- endmacro %}

{#
    Kilometres between two places, in steps: on the tangent plane of a sphere of 6371.0 km at the middle latitude, with the cosine as its
    Taylor polynomial to the tenth degree (error below 5e-7 up to 90 degrees). + - * / and sqrt alone, because sin and cos differ between
    libraries, and constants as ratios of integers, which every engine reads alike (law 2).
#}
{% macro distance_steps(name, start, stop) %}
    {% set east = '(' ~ start ~ ' % 400000000 - ' ~ stop ~ ' % 400000000)' %}
    {% set cosine = namespace(sql=double('1')) %}
    {% for divisor in ['90', '56', '30', '12', '2'] %}
        {% set cosine.sql = '(' ~ double('1') ~ ' - ' ~ name ~ '__square / ' ~ double(divisor) ~ ' * ' ~ cosine.sql ~ ')' %}
    {% endfor %}
    {{ return([
        {
            name ~ '__start_latitude': _latitude(start),
            name ~ '__stop_latitude': _latitude(stop),
            name ~ '__east': double('case when abs' ~ east ~ ' > 180000000 then 360000000 - abs' ~ east ~ ' else abs' ~ east ~ ' end')
                ~ ' / ' ~ double('1000000'),
        },
        {
            name ~ '__north': name ~ '__start_latitude - ' ~ name ~ '__stop_latitude',
            name ~ '__middle': '(' ~ name ~ '__start_latitude + ' ~ name ~ '__stop_latitude) * '
                ~ double('8726646259971648') ~ ' / ' ~ double('1000000000000000000'),
        },
        {name ~ '__square': name ~ '__middle * ' ~ name ~ '__middle'},
        {name ~ '__east_flat': name ~ '__east * ' ~ cosine.sql},
        {
            name ~ '__km': 'sqrt(' ~ name ~ '__north * ' ~ name ~ '__north + ' ~ name ~ '__east_flat * ' ~ name ~ '__east_flat) * '
                ~ double('111194926644559') ~ ' / ' ~ double('1000000000000'),
        },
    ]) }}
{% endmacro %}

{# Degrees of latitude of a place, as double. #}
{% macro _latitude(place) -%}
    {{ double(place ~ ' - ' ~ place ~ ' % 400000000') }} / {{ double('400000000000000') }} - {{ double('90') }}
{%- endmacro %}
