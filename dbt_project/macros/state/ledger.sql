{#
    The ledger: what each model that isn't made anew in every run has consumed, and the tables between such models, in the build file itself.
    A model writes its row in the transaction that writes its rows. It has consumed no more than the models that it reads: whatever a run
    chooses to build (`--select`), and wherever it was killed, the next one makes up for what is missing.

    Batches are append-only and their names rise (see warehouse/landing/batches.py), so `batch > consumed` is what is new.
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

{#
    Hook, in the transaction of the rows: what the model has consumed, of its own and by what it reads. Over a model of another definition
    it has none itself: the next run builds both from nothing.
#}
{% macro record_build(transactions=none, labels=none, days=none) -%}
    {%- set inputs = _recorded_inputs(model.unique_id) if execute else [] -%}
    delete from ledger.builds where model = '{{ this.identifier }}';
    insert into ledger.builds
    with inputs as (

        select
            count(*) filter (where definition = {{ definition() }}) = {{ inputs | length }} as are_current,
            min(transactions_batch) as transactions_batch,
            min(labels_batch) as labels_batch,
            min(last_day) as last_day
        from ledger.builds
        where model in ('{{ inputs | join("', '") }}')

    )

    select
        '{{ this.identifier }}',
        case when are_current then {{ definition() }} end,
        least({{ '(select max(batch) from ' ~ transactions ~ ')' if transactions else 'null' }}, transactions_batch),
        least({{ '(select max(batch) from ' ~ labels ~ ')' if labels else 'null' }}, labels_batch),
        least({{ '(select max(day) from ' ~ days ~ ')' if days else 'null' }}, last_day)
    from inputs
{%- endmacro %}

{# The models that one reads and that have a row in the ledger, itself or through views. #}
{% macro _recorded_inputs(unique_id) %}
    {% set found = [] %}
    {% for name in graph.nodes[unique_id].depends_on.nodes if name in graph.nodes and graph.nodes[name].resource_type == 'model' %}
        {% if graph.nodes[name].config.materialized == 'view' %}
            {% do found.extend(_recorded_inputs(name)) %}
        {% else %}
            {% do found.append(graph.nodes[name].name) %}
        {% endif %}
    {% endfor %}
    {{ return(found | unique | list) }}
{% endmacro %}

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
