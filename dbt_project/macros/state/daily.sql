{#
    A table of daily snapshots: only the days that are due are made, in batches, so that memory follows the batch and not the history. All in
    one transaction: a reader, or a run after a kill, sees the days as they were or as they are to be.

    A batch is some days of everybody. Of a model that looks further back, a batch would read again what the ones before it have read: `slice_by`
    names the key whose histories do not need each other, and a batch is all due days of a slice of its values, which reads `memory` before
    them once. The model reads its days by `due_snapshot_days` and its keys by `is_in_slice`, from the connection's variables.
#}
{% materialization daily, adapter='duckdb' %}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set is_new = load_cached_relation(this) is none -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- set due = _due_days() -%}
    {%- set is_feature = 'event_timestamp' in model.columns -%}
    {% if is_new %}
        {#- Not by a query that finds no rows: of a table that an ordered one created empty, DuckDB 1.5.5 doesn't see later rows until it is reopened. -#}
        {% call statement('main') %}
            {{ create_table_as(False, target_relation, get_empty_subquery_sql(compiled_code)) }}
        {% endcall %}
    {% else %}
        {% call statement('main') %}
            delete from {{ target_relation }}
            where {{ 'event_timestamp >= ' ~ counts_from(due.first) if is_feature else 'day >= ' ~ due.first }}
        {% endcall %}
    {% endif %}
    {%- set batches = _batches(due) -%}
    {% for batch in batches %}
        {% do _choose_batch(batch, batches | length if config.get('slice_by') else 1) %}
        {% call statement('days') %}
            insert into {{ target_relation }} by name (
                {{ compiled_code }}
            )
        {% endcall %}
    {% endfor %}
    {% call statement('record') %}
        {{ record_build(ref('int_transactions__deduped'), ref('int_labels__changes'), ref('int_snapshot_days')) }};
        {%- if is_feature %}
        {{ record_unpublished('-' ~ end_of_time_us() if is_new else 'epoch_us(' ~ counts_from(due.first) ~ ')') }};
        {%- endif %}
        reset variable first_due_day; reset variable last_due_day; reset variable slice; reset variable slices
    {% endcall %}
    {% do persist_docs(target_relation, model) %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{# The days that the model's rows must be made for: from the first that anything changed which the model hasn't consumed. #}
{% macro _due_days() %}
    {% set found = run_query(_due_days_sql()).rows[0] %}
    {{ return({'first': found[0] | int, 'last': found[1] | int}) }}
{% endmacro %}

{% macro _due_days_sql() -%}
    {%- set late = day_of(end_of_time_us()) -%}
    with new_transactions as (
        select {{ day_of('min(event_us)') }} as first_day
        from {{ ref('int_transactions__deduped') }}
        where batch > {{ consumed('transactions_batch') }}
    ),

    new_labels as (
        select {{ day_of('min(known_us)') }} as first_day
        from {{ ref('int_labels__changes') }}
        where batch > {{ consumed('labels_batch') }}
            or transaction_batch > {{ consumed('transactions_batch') }}
    ),

    bounds as (
        select
            coalesce(min(day), 0) as first_day,
            coalesce(max(day), -1) as last_day
        from {{ ref('int_snapshot_days') }}
    )

    select
        greatest(bounds.first_day, least(
            coalesce(new_transactions.first_day, {{ late }}),
            coalesce(new_labels.first_day, {{ late }}),
            coalesce((select max(last_day) from ledger.builds where model = '{{ this.identifier }}') + 1, bounds.first_day),
            bounds.last_day + 1
        )),
        bounds.last_day
    from bounds
    cross join new_transactions
    cross join new_labels
{%- endmacro %}

{# Parts of the due days, or slices of them all: each with about as many transactions as `snapshot_batch_transactions` says. #}
{% macro _batches(due) %}
    {% set batches = [] %}
    {% if due.first <= due.last and config.get('slice_by') %}
        {% for slice in range(_weight(due, window_days(config.require('memory')))) %}
            {% do batches.append({'first': due.first, 'last': due.last, 'slice': slice}) %}
        {% endfor %}
    {% elif due.first <= due.last %}
        {% set weight = _weight(due, 0) %}
        {% set days_per_batch = (due.last - due.first + weight) // weight %}
        {% for first in range(due.first, due.last + 1, days_per_batch) %}
            {% do batches.append({'first': first, 'last': [first + days_per_batch - 1, due.last] | min, 'slice': 0}) %}
        {% endfor %}
    {% endif %}
    {{ return(batches) }}
{% endmacro %}

{# How many batches the due days are: they and the days that they remember weigh by their transactions, on average. #}
{% macro _weight(due, memory_days) %}
    {% set weighed %}
        select
            count(*) filter (where event_us >= {{ due.first * day_us() | int }})
            + count(*) filter (where event_us >= {{ (due.first - memory_days) * day_us() | int }})
        from {{ ref('int_transactions__deduped') }}
        where event_us < {{ (due.last + 1) * day_us() | int }}
    {% endset %}
    {% set transactions = run_query(weighed).rows[0][0] | int // 2 %}
    {{ return([(transactions + var('snapshot_batch_transactions') - 1) // var('snapshot_batch_transactions'), 1] | max) }}
{% endmacro %}

{% macro _choose_batch(batch, slices) -%}
    {% do run_query(
        'set variable first_due_day = ' ~ batch.first ~ '; set variable last_due_day = ' ~ batch.last
        ~ '; set variable slice = ' ~ batch.slice ~ '; set variable slices = ' ~ slices
    ) %}
{%- endmacro %}
