{# Condition: an amount is at most 2.75 times the median; in whole numbers, so that no edge depends on rounding. #}
{% macro is_usual_amount(amount, median) -%}
    {{ amount }} * 4 <= {{ median }} * 11
{%- endmacro %}

{# Entropy (in nats) of a sorted list of counts, null for none: log(n) - sum(c * log(c)) / n, its sum in the list's order. #}
{% macro entropy(counts) -%}
    ln(nullif(list_sum({{ counts }}), 0))
    - list_sum(list_transform({{ counts }}, lambda number: cast(number as double) * ln(number))) / nullif(cast(list_sum({{ counts }}) as double), 0)
{%- endmacro %}
