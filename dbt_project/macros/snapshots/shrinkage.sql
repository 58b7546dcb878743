{#
    Cold start: what is known of a customer by few observations is shrunk to the population, by empirical Bayes (Bühlmann and Straub's
    credibility). The own mean of n observations gets the weight n / (n + k), where k is the variance within customers over the
    variance between them, both by the method of moments over the customers of the snapshot's day:

        within  = sum of squared deviations from the own means / (N - K)
        between = (sum of n_i * (own mean - overall mean)^2 - (K - 1) * within) / (N - sum of n_i^2 / N)

    for K customers with N observations. A share is the mean of zeros and ones; the shares of one whole (parts of the day) have one k, from
    sums over the parts. Transactions a day are a mean over the days since the customer's first one. What a customer brings to a sum is a
    whole number, so that no sum depends on the order of the rows.

    A variance of n observations weighs as its n - 1 degrees of freedom. Of normal observations one such degree of freedom tells the
    variance v with the error 2 * v^2, hence k = 2 * (mean of v^2) / (variance of v), by the method of moments again (macro
    `variance_prior_weight`).

    Not shrunk: median, percentile and maximum, which are no means and stay what the customer did, and what counts or names things.
#}

{# Squares of shares, of transactions a day and of ratios are counted in 2^-20, amounts in minor units. #}
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

{# Sum of the squares from their limbs (macro `part_aggregate`), as the whole number that it is. #}
{% macro whole_squares(high, middle, low) -%}
    (cast({{ high }} as hugeint) * 1099511627776 + cast({{ middle }} as hugeint) * 2097152 + {{ low }})
{%- endmacro %}

{# Squares of a customer's amounts that the own mean leaves unexplained, from the sums of a window. #}
{% macro amount_squares_within(window) -%}
    greatest(
        {{ whole_squares('squares_high_' ~ window, 'squares_middle_' ~ window, 'squares_low_' ~ window) }}
        - {{ whole(explained_squares(['amount_sum_' ~ window], 'transactions_' ~ window)) }},
        0
    )
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

{# Degrees of freedom of the variance of so many observations. #}
{% macro freedom(count) -%}
    greatest({{ count }} - 1, 0)
{%- endmacro %}

{# What a customer's variance, of `within` squares with `freedom`, brings to the mean of squares: for normal observations without bias. #}
{% macro squared_variance(within, freedom, pooled_variance) -%}
    {%- set own = double(within) ~ ' / nullif(' ~ double(freedom) ~ ' * ' ~ pooled_variance ~ ', 0)' -%}
    ({{ own }}) * ({{ own }}) * {{ double(freedom) }} * {{ double(freedom) }} / {{ double(freedom ~ ' + 2') }}
{%- endmacro %}

{# k of variances, from the mean square of what they are as a multiple of the pooled variance (a multiple whose mean is one). #}
{% macro variance_prior_weight(mean_square) -%}
    case
        when {{ mean_square }} is null then {{ double(var('profile_prior_weight').default) }}
        when {{ mean_square }} <= 1 then {{ double(var('profile_prior_weight').largest) }}
        else least(
            greatest(2 * {{ mean_square }} / ({{ mean_square }} - 1), {{ double(var('profile_prior_weight').smallest) }}),
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
