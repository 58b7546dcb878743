{#
    A table of daily snapshots: only the days that are due are made, some days at a time, so that memory follows the days of a batch and not
    of the history. All in one transaction: a reader, or a run after a kill, sees the days as they were or as they are to be.

    The model reads its days by `due_snapshot_days`, which reads the batch's bounds from the connection's variables.
#}
{% materialization daily, adapter='duckdb' %}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set is_new = load_cached_relation(this) is none -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- set due = _due_days() -%}
    {% if is_new %}
        {% do _make_days(1, 0) %}
        {% call statement('main') %}{{ create_table_as(False, target_relation, compiled_code) }}{% endcall %}
    {% else %}
        {% call statement('main') %}
            delete from {{ target_relation }}
            where {{ 'day >= ' ~ due.first if _has_column(target_relation, 'day') else 'event_timestamp >= ' ~ counts_from(due.first) }}
        {% endcall %}
    {% endif %}
    {% for first in range(due.first, due.last + 1, due.days_per_batch) %}
        {% do _make_days(first, [first + due.days_per_batch - 1, due.last] | min) %}
        {% call statement('days') %}
            insert into {{ target_relation }} by name (
                {{ compiled_code }}
            )
        {% endcall %}
    {% endfor %}
    {% call statement('record') %}
        {{ record_build(ref('int_transactions__deduped'), ref('int_labels__changes'), ref('int_snapshot_days')) }}
    {% endcall %}
    {% if not _has_column(target_relation, 'day') %}
        {% do run_query(record_unpublished('-' ~ end_of_time_us() if is_new else 'epoch_us(' ~ counts_from(due.first) ~ ')')) %}
    {% endif %}
    {% do run_query('reset variable first_due_day; reset variable last_due_day') %}
    {% do persist_docs(target_relation, model) %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{# The days that the model's rows must be made for: from the first that anything changed which the model hasn't consumed. #}
{% macro _due_days() %}
    {% set found = run_query(_due_days_sql()).rows[0] %}
    {{ return({'first': found[0] | int, 'last': found[1] | int, 'days_per_batch': found[2] | int}) }}
{% endmacro %}

{% macro _due_days_sql() -%}
    {%- set late = day_of(end_of_time_us()) -%}
    with new_transactions as (
        select
            transaction_id,
            event_us
        from {{ ref('int_transactions__deduped') }}
        where batch > {{ consumed('transactions_batch') }}
    ),

    new_labels as (
        select known_us
        from {{ ref('int_labels__changes') }}
        where batch > {{ consumed('labels_batch') }}
            or transaction_id in (select new_transactions.transaction_id from new_transactions)
    ),

    bounds as (
        select
            coalesce(min(day), 0) as first_day,
            coalesce(max(day), -1) as last_day
        from {{ ref('int_snapshot_days') }}
    )

    select
        greatest(first_day, least(
            coalesce((select {{ day_of('min(new_transactions.event_us)') }} from new_transactions), {{ late }}),
            coalesce((select {{ day_of('min(new_labels.known_us)') }} from new_labels), {{ late }}),
            coalesce((select max(last_day) from ledger.builds where model = '{{ this.identifier }}') + 1, first_day),
            last_day + 1
        )),
        last_day,
        greatest(1, {{ var('snapshot_batch_transactions') }} * (last_day - first_day + 1) // greatest((
            select count(*) from {{ ref('int_transactions__deduped') }}
        ), 1))
    from bounds
{%- endmacro %}

{% macro _make_days(first, last) -%}
    {% do run_query('set variable first_due_day = ' ~ first ~ '; set variable last_due_day = ' ~ last) %}
{%- endmacro %}

{% macro _has_column(relation, name) -%}
    {{ return(name in adapter.get_columns_in_relation(relation) | map(attribute='name')) }}
{%- endmacro %}
