{# Condition: an amount is at most so many times what is usual (a median, a mean) as the variable `usual_amount_limit` says. #}
{% macro is_usual_amount(amount, usual) -%}
    {{ amount }} * {{ var('usual_amount_limit').denominator }} <= {{ usual }} * {{ var('usual_amount_limit').numerator }}
{%- endmacro %}

{# Entropy (in nats) of a sorted list of counts, null for none: log(n) - sum(c * log(c)) / n, its sum in the list's order. #}
{% macro entropy(counts) -%}
    ln(nullif(list_sum({{ counts }}), 0))
    - list_sum(list_transform({{ counts }}, lambda number: cast(number as double) * ln(number))) / nullif(cast(list_sum({{ counts }}) as double), 0)
{%- endmacro %}
