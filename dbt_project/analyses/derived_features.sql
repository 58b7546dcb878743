{#- Derived features of the rows of feature_row: a transaction with all its other features. Compiled text; never edited. -#}
select
    row_index
    {%- for feature in var('derived_features') %},
    {{ feature.sql }} as {{ feature.name }}
    {%- endfor %}
from feature_row
