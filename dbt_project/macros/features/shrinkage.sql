{#
    Cold start: what is known of a customer by few observations is shrunk to the population, by empirical Bayes (Bühlmann and Straub's
    credibility). The own mean of n observations gets the weight n / (n + k), where k is the variance within customers over the
    variance between them, both by the method of moments over the customers of the snapshot's day:

        within  = sum of squared deviations from the own means / (N - K)
        between = (sum of n_i * (own mean - overall mean)^2 - (K - 1) * within) / (N - sum of n_i^2 / N)

    for K customers with N observations. A share is the mean of zeros and ones; the shares of one whole (parts of the day) have one k, from
    sums over the parts. What a customer brings to a sum is a whole number, so that no sum depends on the order of the rows.
#}

{# Squares of shares are counted in 2^-20, amounts in minor units. #}
{% macro share_scale() -%}
    1048576
{%- endmacro %}

{# sum(hits^2) / n over the `hits` columns: a customer's part of the squares that the means explain. #}
{% macro explained_squares(hits, count) -%}
    (
        {%- for hit in hits -%}
        {{ double(hit) }} * {{ double(hit) }}{{ ' + ' if not loop.last }}
        {%- endfor -%}
    ) / nullif({{ double(count) }}, 0)
{%- endmacro %}

{# A number as a whole one that can be summed in any order. #}
{% macro whole(expression) -%}
    cast(round({{ expression }}) as hugeint)
{%- endmacro %}

{#
    k, from the population's sums (all in the same scale): squares within customers, squares that the own means explain, squares that the
    overall mean explains, observations, their squares a customer, customers.
#}
{% macro prior_weight(within, own, overall, observations, observations_squared, customers) -%}
    {%- set variance_within = '(' ~ double(within) ~ ' / nullif(' ~ double(observations ~ ' - ' ~ customers) ~ ', 0))' -%}
    {%- set between = '(' ~ double(own) ~ ' - ' ~ overall ~ ' - ' ~ double(customers ~ ' - 1') ~ ' * ' ~ variance_within ~ ')' -%}
    {%- set spread = '(' ~ double(observations) ~ ' - ' ~ double(observations_squared) ~ ' / nullif(' ~ double(observations) ~ ', 0))' -%}
    case
        -- Nothing can be told from one customer, or from one observation each.
        when {{ customers }} < 2 or {{ observations }} <= {{ customers }} then {{ double(var('profile_prior_weight').default) }}
        -- Customers differ no more than chance would have it.
        when {{ between }} <= 0 then {{ double(var('profile_prior_weight').largest) }}
        else least(
            greatest({{ variance_within }} * {{ spread }} / {{ between }}, {{ double(var('profile_prior_weight').smallest) }}),
            {{ double(var('profile_prior_weight').largest) }}
        )
    end
{%- endmacro %}

{# The mean of `count` observations with the sum `sum`, shrunk to the population's mean. #}
{% macro shrunk(sum, count, population_mean, weight) -%}
    ({{ double(sum) }} + {{ weight }} * {{ population_mean }}) / ({{ double(count) }} + {{ weight }})
{%- endmacro %}

{# Weight of the own observations in it. #}
{% macro own_weight(count, weight) -%}
    {{ double(count) }} / ({{ double(count) }} + {{ weight }})
{%- endmacro %}
