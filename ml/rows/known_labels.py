"""Labels as they were known at some time: later ones do not exist, corrections of what was known neither."""

from __future__ import annotations

from typing import Final

TRANSACTIONS: Final = "marts.fct_transactions"
SUPERSEDED_LABELS: Final = "marts.fct_superseded_labels"


def labelled_by(known_by: str) -> str:
    """Return SQL of all transactions, each with the label that stood at a time.

    Parameters
    ----------
    known_by : str
        UTC microseconds as SQL, over ``transactions`` where each row has a time of its own.

    Returns
    -------
    str
        A query of transaction_id, customer_id, event_us, is_fraud and label_known_us; the last two are null
        where no label was known yet.
    """
    return f"""
        select
            transactions.transaction_id,
            transactions.customer_id,
            transactions.event_us,
            case
                when transactions.label_known_us <= {known_by} then transactions.is_fraud
                else superseded.is_fraud
            end as is_fraud,
            case
                when transactions.label_known_us <= {known_by} then transactions.label_known_us
                else superseded.known_us
            end as label_known_us
        from {TRANSACTIONS} as transactions
        left join {SUPERSEDED_LABELS} as superseded
            on superseded.transaction_id = transactions.transaction_id
                and superseded.known_us <= {known_by}
                and superseded.superseded_us > {known_by}
    """  # noqa: S608 - names and expressions of ours
