{# Condition on a row of int_labels__changes: it is the first label of its payment, or says otherwise than the one before. #}
{% macro is_new_verdict() -%}
    (fraud_change != 0 or label_change = 1)
{%- endmacro %}
