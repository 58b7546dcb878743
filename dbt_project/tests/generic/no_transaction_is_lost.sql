{# A returned row is a transaction that only one of the two has. #}
{% test no_transaction_is_lost(model, transactions) %}
select transaction_id
from (select transaction_id from {{ model }}) as in_model
full join (select transaction_id from {{ transactions }}) as in_transactions using (transaction_id)
where in_model.transaction_id is null or in_transactions.transaction_id is null
{% endtest %}
