{#
    The ledger: what each incremental model has consumed, in the build file itself. A model writes its row in the transaction that
    writes its rows, and looks at nobody else's: a run that was killed between two models is repaired by the next one.

    Batches are append-only and their names rise (see warehouse/landing.py), so `batch > consumed` is what is new.
#}

{% macro ledger_schema() -%}
    create schema if not exists ledger;
    create table if not exists ledger.builds (
        model varchar,
        definition varchar,
        transactions_batch varchar,
        labels_batch varchar,
        last_day bigint
    );
    create table if not exists ledger.unpublished (
        model varchar,
        from_us bigint
    );
{%- endmacro %}

{#
    Before anything is built: an incremental model whose definition is not the one it was built with is dropped, so that it is built from
    nothing. `--full-refresh` does the same, and never has to be remembered.
#}
{% macro open_ledger() %}
    {% if execute %}
        {% do run_query(ledger_schema()) %}
        {% for node in graph.nodes.values() if node.unique_id in selected_resources and node.config.materialized in ('incremental', 'daily') %}
            {% set is_current = not flags.FULL_REFRESH and run_query(
                "select 1 from ledger.builds where model = '" ~ node.name ~ "' and definition = " ~ definition()
            ) | length > 0 %}
            {% set relation = load_cached_relation(api.Relation.create(database=node.database, schema=node.schema, identifier=node.alias)) %}
            {% if not is_current or relation is none or not relation.is_table %}
                {% do run_query("delete from ledger.builds where model = '" ~ node.name ~ "'") %}
                {% if relation is not none %}
                    {% do adapter.drop_relation(relation) %}
                {% endif %}
            {% endif %}
        {% endfor %}
    {% endif %}
{% endmacro %}

{# What decides the content of models: the project's SQL, and variables given for this run that are not just about this run. #}
{% macro definition() -%}
    {%- set given = {} -%}
    {%- for name, value in invocation_args_dict.get('vars', {}).items() if name not in ('as_of_us', 'velocity_rendering', 'snapshot_batch_transactions') -%}
        {%- do given.update({name: value}) -%}
    {%- endfor -%}
    md5(project_definition('{{ flags.PROJECT_DIR }}') || '{{ local_md5(tojson(given, sort_keys=true)) }}')
{%- endmacro %}

{# The newest batch that a model has consumed, by its own row. #}
{% macro consumed(column) -%}
    coalesce((select max({{ column }}) from ledger.builds where model = '{{ this.identifier }}'), '')
{%- endmacro %}

{#
    The first instant from which rows by event time may change: of the earliest payment that the model hasn't consumed, or the earliest
    from which such a label counts, for a model that looks at labels.
#}
{% macro first_due_us(transactions, labels=none) -%}
    {%- set instants = {'event_us': (transactions, 'transactions_batch')} -%}
    {%- if labels -%}
        {%- do instants.update({'known_us': (labels, 'labels_batch')}) -%}
    {%- endif -%}
    least(
        {%- for instant, (relation, column) in instants.items() %}
        (select coalesce(min({{ instant }}), {{ end_of_time_us() }}) from {{ relation }} where batch > {{ consumed(column) }})
        {{- ',' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}

{# The day of that instant. #}
{% macro first_due_day(transactions) -%}
    {{ day_of(first_due_us(transactions)) }}
{%- endmacro %}

{# Hook, in the transaction of the rows: what the model has consumed. #}
{% macro record_build(transactions=none, labels=none, days=none) -%}
    delete from ledger.builds where model = '{{ this.identifier }}';
    insert into ledger.builds
    select
        '{{ this.identifier }}',
        {{ definition() }},
        {{ '(select max(batch) from ' ~ transactions ~ ')' if transactions else 'null' }},
        {{ '(select max(batch) from ' ~ labels ~ ')' if labels else 'null' }},
        {{ '(select max(day) from ' ~ days ~ ')' if days else 'null' }}
{%- endmacro %}

{# In the transaction of the rows: from which event_timestamp on they may not be those of the published files. #}
{% macro record_unpublished(from_us) -%}
    insert into ledger.unpublished values ('{{ this.identifier }}', {{ from_us }})
{%- endmacro %}

{# Hook of a model by event time, in the transaction of the rows: what is about to be built anew goes. #}
{% macro delete_due_rows(transactions, labels) -%}
    {%- if is_incremental() -%}
    delete from {{ this }}
    where event_timestamp >= {{ timestamp_of(first_due_us(transactions, labels)) }};
    {%- endif -%}
    {{ record_unpublished(first_due_us(transactions, labels) if is_incremental() else '-' ~ end_of_time_us()) }}
{%- endmacro %}

{# The same for a model by days. #}
{% macro delete_due_days(transactions) -%}
    {%- if is_incremental() -%}
    delete from {{ this }}
    where day >= {{ first_due_day(transactions) }}
    {%- endif -%}
{%- endmacro %}
