{# What daily snapshots share. Each reads its inputs no further back than its longest window before the first of its days. #}

{#
    Condition on the days that are to be made, as a `where` clause: those that the materialization `daily` is about to make, all of them
    where it isn't running. What tells which days are due is something that the model depends on.
#}
{% macro due_snapshot_days() -%}
    {%- if model.resource_type != 'unit_test' -%}
        {%- do ref('int_transactions__deduped') -%}
        {%- do ref('int_labels__changes') -%}
    {%- endif -%}
    where day between coalesce(getvariable('first_due_day'), -{{ end_of_time_us() }}) and coalesce(getvariable('last_due_day'), {{ end_of_time_us() }})
{%- endmacro %}

{#
    Condition: the key is of the slice that is to be made, for every key that a model reads; all of them where nothing is sliced: DuckDB then
    sees that there is nothing to filter, and plans without. A model of the materialization `daily` that uses it says so by `slice_by`.
#}
{% macro is_in_slice(key) -%}
    (coalesce(getvariable('slices'), 1) = 1 or hash({{ key }}) % getvariable('slices') = getvariable('slice'))
{%- endmacro %}

{# Condition: the day is one that a snapshot of the CTE `snapshot_days` may look at, up to `days` before it. #}
{% macro seen_by_snapshots(day, days) -%}
    {{ day }} between (select min(snapshot_days.day) - {{ days }} from snapshot_days) and (select max(snapshot_days.day) from snapshot_days)
{%- endmacro %}

{# Days from `first` on and before `end`, one a row, as far as the CTE `snapshot_days` reaches. #}
{% macro snapshots_between(first, end) -%}
    unnest(range(
        greatest({{ first }}, (select min(snapshot_days.day) from snapshot_days)),
        least({{ end }}, (select max(snapshot_days.day) + 1 from snapshot_days))
    ))
{%- endmacro %}

{# The snapshots that remember a day: its own and those of so many `days` after it. #}
{% macro remembering_days(day, days) -%}
    {{ snapshots_between(day, day ~ ' + ' ~ (days + 1)) }}
{%- endmacro %}

{# From when a day's snapshot counts: its end plus the lag. #}
{% macro counts_from(day) -%}
    {{ timestamp_of('(' ~ day ~ ' + 1) * ' ~ day_us() ~ ' + ' ~ window_us(var('profile_lag'))) }}
{%- endmacro %}
