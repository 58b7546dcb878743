"""From transactions to decisions: claim, read, derive, score, decide, in chunks (section 8 of the design).

The order is what makes a decision replayable: a transaction's place in the order of arrival is fixed by its
claim, all values are read as of that place, and decision, answer and sealed record are one durable commit.
Scoring itself is outside both transactions, because SQLite has one writer.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import orjson

from api.audit.log import AuditKeys
from ml.features.online import OnlineReader, OnlineRow
from ml.scoring.scorer import Explain, Score, Scorer
from warehouse.errors import StoreError
from warehouse.live.claims import (
    Claim,
    ClaimInProgressError,
    ClaimLostError,
    conflict_of,
    distinct_transactions,
    this_worker,
)
from warehouse.live.decisions import Decision, SealedDecision
from warehouse.live.events import Transaction, micro_degrees
from warehouse.live.store import LiveStore

EXPLAIN_ALL_UP_TO: Final = 100
"""Requests of up to this many transactions are explained in full unless they say otherwise."""

_WAIT_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 0.05
_RECORD_FORMAT: Final = 1
_LIBRARIES: Final = ("lightgbm", "numpy", "safetensors")
NEWER: Final = "newer_"
"""Before a view's name in an answer's ``degraded``: the row counts from after the transaction."""
_PROFILE_VIEW: Final = "customer_profile"
_PROBE: Final = Transaction(
    transaction_id="-", customer_id="-", merchant_id="-", category="-", event_us=0, amount_minor=0
)


class ScoringService:
    """Scores transactions with one bundle.

    Parameters
    ----------
    store : LiveStore
        Where transactions and decisions are kept.
    reader : OnlineReader
        Profiles and risk.
    scorer : Scorer
        The promoted bundle.
    keys : AuditKeys
        Seal the records.
    batch_size : int
        Transactions in one claim.
    now_us : callable
        The clock, for arrival and decision times alone: UTC microseconds.
    """

    def __init__(
        self,
        store: LiveStore,
        reader: OnlineReader,
        scorer: Scorer,
        keys: AuditKeys,
        *,
        batch_size: int,
        now_us: Callable[[], int],
    ) -> None:
        self._store = store
        self._reader = reader
        self._scorer = scorer
        self._keys = keys
        self._batch_size = batch_size
        self._now_us = now_us
        self._versions = _versions(scorer)

    def predict(
        self, transactions: Sequence[Transaction], *, explain: Explain | None, client: str
    ) -> list[bytes]:
        """Decide transactions; returns the JSON of each prediction, in order.

        Parameters
        ----------
        transactions : sequence of Transaction
            Checked by the caller.
        explain : str or None
            Which decisions get reasons: all, alerts or none; None: all for a small request, else alerts.
        client : str
            Who asks, for the record.

        Raises
        ------
        ConflictError
            An id is known with other content; nothing of the request is recorded.
        StoreError
            Something can't be read or made durable.
        """
        distinct = list(distinct_transactions(transactions).values())
        if len(distinct) > self._batch_size:  # one chunk is claimed whole or not at all
            self._refuse_conflicts(distinct)
        wanted = explain or ("all" if len(transactions) <= EXPLAIN_ALL_UP_TO else "alerts")
        answers: dict[str, bytes] = {}
        for chunk in _chunks(distinct, self._batch_size):
            answers |= self._predict_chunk(chunk, explain=wanted, client=client)
        return [answers[transaction.transaction_id] for transaction in transactions]

    def check(self) -> None:
        """Raise an error of the product unless profiles and risk can be read."""
        self._reader.read([_raw_fields(_PROBE)])

    def _refuse_conflicts(self, transactions: Sequence[Transaction]) -> None:
        conflict = self._store.find_conflict(transactions)
        if conflict is not None:
            raise conflict_of(conflict)

    def _predict_chunk(
        self, chunk: Sequence[Transaction], *, explain: Explain, client: str
    ) -> dict[str, bytes]:
        """Decide a chunk; waits a moment for claims that another worker holds."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                return self._claim_and_decide(chunk, explain=explain, client=client)
            except (ClaimInProgressError, ClaimLostError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_SECONDS)

    def _claim_and_decide(
        self, chunk: Sequence[Transaction], *, explain: Explain, client: str
    ) -> dict[str, bytes]:
        claims = self._store.claim(
            chunk, worker=this_worker(), now_us=self._now_us(), live_sql=self._scorer.bundle.live_sql
        )
        pending = [claim for claim in claims if claim.answer is None]
        try:
            decisions = self._score(pending, explain=explain, client=client)
            decided = self._store.decide(decisions, seal=self._seal, now_us=self._now_us())
        except BaseException:
            # A retry need not wait for the lease. The events stay: they did arrive.
            with contextlib.suppress(StoreError):
                self._store.release(pending)
            raise
        answers = {claim.transaction.transaction_id: claim.answer or b"" for claim in claims}
        for claim, answer in zip(pending, decided, strict=True):
            answers[claim.transaction.transaction_id] = answer
        return answers

    def _score(self, claims: Sequence[Claim], *, explain: Explain, client: str) -> list[Decision]:
        if not claims:
            return []
        raw = [_raw_fields(claim.transaction) for claim in claims]
        online = self._reader.read(raw)
        known = [
            fields | dict(claim.velocity) | row
            for fields, claim, row in zip(raw, claims, online, strict=True)
        ]
        derived = self._store.derive(self._scorer.bundle.derived_sql, known)
        rows = [
            values | more | {"attributes_number": claim.transaction.attributes_number}
            for values, more, claim in zip(known, derived, claims, strict=True)
        ]
        scores = self._scorer.score(rows, explain=explain)
        return [
            self._decision(claim, row, dict(claim.velocity) | row | more, score, client)
            for claim, row, more, score in zip(claims, online, derived, scores, strict=True)
        ]

    def _decision(
        self, claim: Claim, online: OnlineRow, features: Mapping[str, Any], score: Score, client: str
    ) -> Decision:
        bundle = self._scorer.bundle
        body = {
            "transaction_id": claim.transaction.transaction_id,
            "decision": score.decision,
            "fraud_probability": score.fraud_probability,
            "anomaly_score": score.anomaly_score,
            "reasons": [asdict(reason) for reason in score.reasons],
            "model": {"name": bundle.name, "version": bundle.version},
            "feature_service": bundle.service,
            "freshness": {"arrival_seq": claim.arrival_seq, "counts_from_us": online.event_us},
            "degraded": _degraded(claim.transaction, online),
        }
        record = {
            "format": _RECORD_FORMAT,
            "client": client,
            "scored_us": self._now_us(),
            "arrival_seq": claim.arrival_seq,
            "transaction": asdict(claim.transaction),
            "features": features,
            "versions": self._versions,
            "prediction": body,
        }
        return Decision(
            claim=claim,
            decision=score.decision,
            fraud_probability=score.fraud_probability,
            anomaly_score=score.anomaly_score,
            model_name=bundle.name,
            model_version=bundle.version,
            answer=orjson.dumps(body),
            record=orjson.dumps(record, option=orjson.OPT_SORT_KEYS),
        )

    def _seal(self, decision: Decision, sequence: int, previous_hash: bytes) -> SealedDecision:
        sealed = self._keys.seal(decision.record, sequence=sequence, previous_hash=previous_hash)
        answer = decision.answer[:-1] + b',"record":%d}' % sequence
        return SealedDecision(answer=answer, record=sealed.data, record_hash=sealed.record_hash)


def _raw_fields(transaction: Transaction) -> dict[str, Any]:
    """Fields of a transaction that derived features and keys may name."""
    return {
        "transaction_id": transaction.transaction_id,
        "customer_id": transaction.customer_id,
        "merchant_id": transaction.merchant_id,
        "event_us": transaction.event_us,
        "amount_minor": transaction.amount_minor,
        "currency": transaction.currency,
        "category": transaction.category,
        "channel": transaction.channel,
        "country": transaction.country,
        "latitude_e6": micro_degrees(transaction.latitude),
        "longitude_e6": micro_degrees(transaction.longitude),
    }


def _degraded(transaction: Transaction, online: OnlineRow) -> list[str]:
    """Why a decision rests on less than it should."""
    causes = [f"stale_{short_name(view)}" for view in online.stale]
    # Only of a transaction that came late: the row was not known when it happened.
    causes += [f"{NEWER}{short_name(view)}" for view in online.ahead]
    if transaction.customer_id is not None and online.event_us.get(_PROFILE_VIEW) is None:
        causes.append("no_profile")
    return causes


def short_name(view: str) -> str:
    """Return how an answer's ``degraded`` names a Feast view."""
    return "profile" if view == _PROFILE_VIEW else view


def _versions(scorer: Scorer) -> dict[str, Any]:
    bundle = scorer.bundle
    return {
        "bundle_sha256": bundle.sha256,
        "sql_sha256": bundle.sql_sha256,
        "thresholds": asdict(bundle.thresholds),
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _chunks(transactions: Sequence[Transaction], size: int) -> Iterator[Sequence[Transaction]]:
    for start in range(0, len(transactions), size):
        yield transactions[start : start + size]
