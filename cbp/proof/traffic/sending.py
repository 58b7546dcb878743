"""Sends a stream to a server in its order, and does what is due in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import not_
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from api.schemas import is_acceptable, is_acceptable_label
from cbp.proof.traffic.client import ScoringClient, requests_from
from cbp.proof.traffic.label_schedule import ReportSchedule
from cbp.proof.traffic.stream import Stream, in_sample
from ml.reports.progress import StageProgress
from warehouse.errors import OperationError
from warehouse.times import DAY_US, now_us

TRANSACTIONS_PER_REQUEST: Final = 2_000
_LONGEST_NAP_SECONDS: Final = 1.0


@dataclass
class Sent:
    """What was sent.

    Parameters
    ----------
    scored : int
        Transactions that the API decided.
    loaded : int
        Transactions of customers outside the sample, put into the live store as history.
    refused : int
        Of a file, and such as the API takes from nobody: put into the live store as history too.
    reported : int
        Labels that say fraud, told right before the transactions that happened after them.
    refused_labels : int
        Others of them, such as the API takes from nobody: put into the live store.
    decisions : dict of str to int
        Decisions by kind.
    """

    scored: int = 0
    loaded: int = 0
    refused: int = 0
    reported: int = 0
    refused_labels: int = 0
    decisions: dict[str, int] = field(default_factory=dict)


class Pace:
    """Says how far the replayed time may have come.

    Parameters
    ----------
    start_us : int
        Replayed time at the start.
    speed : float or None
        Replayed seconds in a second; None: as fast as possible.
    """

    def __init__(self, start_us: int, speed: float | None) -> None:
        self._start_us = start_us
        self._speed = speed
        self._started = time.monotonic()

    def wait_for(self, at_us: int) -> None:
        """Sleep until the replayed time has come to `at_us`."""
        while (seconds := self._seconds_until(at_us)) > 0:
            time.sleep(min(seconds, _LONGEST_NAP_SECONDS))

    def come_to_us(self) -> int | None:
        """Return the replayed time; None: as far as one likes."""
        if self._speed is None:
            return None
        return self._start_us + int((time.monotonic() - self._started) * self._speed * 1e6)

    def _seconds_until(self, at_us: int) -> float:
        if self._speed is None:
            return 0.0
        return (at_us - self._start_us) / 1e6 / self._speed - (time.monotonic() - self._started)


def daily_instants(stream: Stream, *, offset_us: int) -> list[int]:
    """Return each midnight plus `offset_us` after the stream's start and before its end."""
    first = (stream.from_us - offset_us) // DAY_US + 1
    last = (stream.to_us - 1 - offset_us) // DAY_US
    return [day * DAY_US + offset_us for day in range(first, last + 1)]


def send(
    stream: Stream,
    *,
    scorer: ScoringClient,
    labeller: ScoringClient,
    load: Callable[[pa.Table], object],
    load_labels: Callable[[Sequence[Mapping[str, Any]]], object],
    due_us: Sequence[int],
    materialize: Callable[[int], object],
    share: float,
    speed: float | None,
    progress: StageProgress,
) -> Sent:
    """Send everything that became known in the stream's time, in order; of the labels, those of frauds.

    Parameters
    ----------
    stream : Stream
    scorer, labeller : ScoringClient
        Clients that may score, and that may tell labels with their time.
    load : callable
        Puts transactions outside the sample into the live store.
    load_labels : callable
        Puts labels there that the API takes from nobody.
    due_us : sequence of int
        Instants of the replayed time, rising.
    materialize : callable
        Called at each of them, before what became known from then on is sent.
    share : float
        Share of the customers whose transactions are scored; those of the others are loaded, each right
        before the scored ones of its batch, as are those that the API would refuse.
    speed : float or None
        Replayed seconds in a second; None: as fast as possible.
    progress : callable
        See `StageProgress`.
    """
    transactions = stream.replayed()
    is_scored = in_sample(transactions, share)
    known_us = transactions["ingested_us"].to_numpy()
    pace, sent, reports = Pace(stream.from_us, speed), Sent(), ReportSchedule(stream)
    edges = [*due_us, stream.to_us]
    first = 0
    for number, edge_us in enumerate(edges):
        end = int(np.searchsorted(known_us, edge_us))
        for batch in _batches(known_us, first, end, pace, cut=reports.cut):
            for labels in reports.take(batch.start, batch.stop):
                _tell(labels, labeller=labeller, load=load_labels, sent=sent)
            _send_batch(transactions[batch], is_scored[batch], scorer=scorer, load=load, sent=sent)
            day = np.datetime64(int(known_us[batch.start]), "us").astype("datetime64[D]")
            progress(str(day), batch.stop, transactions.num_rows)
        first = end
        pace.wait_for(edge_us)
        if number < len(due_us):
            materialize(edge_us)
    return sent


def _batches(
    known_us: npt.NDArray[np.int64], first: int, end: int, pace: Pace, *, cut: Callable[[int, int], int]
) -> Iterator[slice]:
    """Yield what is due, in order, a request's worth at a time; waits for what is not due yet."""
    while first < end:
        pace.wait_for(int(known_us[first]))
        now_us = pace.come_to_us()
        due = end if now_us is None else max(first + 1, int(np.searchsorted(known_us, now_us, side="right")))
        stop = cut(first, min(due, end, first + TRANSACTIONS_PER_REQUEST))
        yield slice(first, stop)
        first = stop


def _tell(
    labels: Sequence[Mapping[str, Any]],
    *,
    labeller: ScoringClient,
    load: Callable[[Sequence[Mapping[str, Any]]], object],
    sent: Sent,
) -> None:
    at_us = now_us()
    is_told = [is_acceptable_label(label, now_us=at_us) for label in labels]
    labeller.tell([*compress(labels, is_told)])
    if not all(is_told):
        load([*compress(labels, map(not_, is_told))])
    sent.reported += sum(is_told)
    sent.refused_labels += len(is_told) - sum(is_told)


def _send_batch(
    batch: pa.Table,
    is_scored: npt.NDArray[np.bool_],
    *,
    scorer: ScoringClient,
    load: Callable[[pa.Table], object],
    sent: Sent,
) -> None:
    requests = [*requests_from(batch)]
    at_us = now_us()
    is_sent = is_scored.copy()
    is_sent[is_scored] = [is_acceptable(one, now_us=at_us) for one in compress(requests, is_scored)]
    if not is_sent.all():
        load(batch.filter(pa.array(~is_sent)))
        sent.loaded += int(np.count_nonzero(~is_scored))
        sent.refused += int(np.count_nonzero(is_scored & ~is_sent))
    requests = [*compress(requests, is_sent)]
    if not requests:
        return
    predictions = scorer.predict(requests)
    if [answer["transaction_id"] for answer in predictions] != [one["transaction_id"] for one in requests]:
        raise OperationError("the API did not answer each transaction in its place")
    sent.scored += len(predictions)
    for prediction in predictions:
        kind = prediction["decision"]
        sent.decisions[kind] = sent.decisions.get(kind, 0) + 1
