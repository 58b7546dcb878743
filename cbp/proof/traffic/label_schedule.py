"""Which fraud labels of a stream must be told before which of its transactions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cbp.proof.traffic.stream import Stream


class ReportSchedule:
    """Fraud labels that became known in a stream's time, each due before the first later transaction.

    A label is told after its own transaction, else the live store would not know the merchant. Told before
    transactions that happened earlier it does no harm: these don't see it, by time.

    Parameters
    ----------
    stream : Stream
    """

    def __init__(self, stream: Stream) -> None:
        transactions = stream.replayed()
        told = stream.labels.filter(
            pc.and_(stream.labels["is_fraud"], pc.greater_equal(stream.labels["known_us"], stream.from_us))
        )
        places = pc.index_in(told["transaction_id"].combine_chunks(), transactions["transaction_id"])
        paid = pc.fill_null(places, -1).to_numpy().astype(np.int64)
        newest_us = np.maximum.accumulate(transactions["event_us"].to_numpy())
        due = np.maximum(np.searchsorted(newest_us, told["known_us"].to_numpy(), side="right"), paid + 1)
        order = np.argsort(due, kind="stable")
        self._labels = told.take(pa.array(order))
        self._paid, self._due = paid[order], due[order]
        self._told = np.zeros(len(order), np.bool_)

    def cut(self, first: int, stop: int) -> int:
        """Return where a request of the transactions from `first` must end, at most before `stop`.

        A label of one of them is due before another one of them: that one waits for the next request.
        """
        inside = (self._paid >= first) & (self._due < stop)
        return int(self._due[inside].min()) if inside.any() else stop

    def take(self, first: int, stop: int) -> Iterator[list[dict[str, Any]]]:
        """Yield what is due before transactions from `first` to before `stop`, a transaction once a time."""
        chosen = ~self._told & (self._paid < first) & (self._due < stop)
        self._told |= chosen
        request: dict[str, dict[str, Any]] = {}
        for label in self._labels.filter(pa.array(chosen)).to_pylist():
            name = label["transaction_id"]
            if name in request:
                yield [*request.values()]
                request = {}
            request[name] = {"transaction_id": name, "is_fraud": True, "known_us": label["known_us"]}
        if request:
            yield [*request.values()]
