"""From transactions to decisions: claim, read, derive, score, decide, in chunks (section 8 of the design).

The order is what makes a decision replayable: a transaction's place in the order of arrival is fixed by its
claim, all values are read as of that place, and decision, answer and sealed record are one durable commit.
Scoring itself is outside both transactions, because SQLite has one writer.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import orjson

from api.audit import AuditKeys
from ml.online_features import OnlineReader, OnlineRow
from ml.scoring import Score, Scorer
from warehouse.live_claims import Claim, ClaimInProgressError, ConflictError, this_worker
from warehouse.live_decisions import Decision, SealedDecision
from warehouse.live_events import Transaction, micro_degrees
from warehouse.live_store import LiveStore

EXPLAIN_ALL_UP_TO: Final = 100
"""Requests of up to this many transactions are explained in full unless they say otherwise."""

_CLAIM_TRIES: Final = 20
_CLAIM_WAIT_SECONDS: Final = 0.1
_RECORD_FORMAT: Final = 1


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
        self, transactions: Sequence[Transaction], *, explain: str | None, client: str
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
        conflict = self._store.find_conflict(transactions)
        if conflict is not None:
            raise ConflictError(f"transaction {conflict!r} is already known with other content")
        wanted = explain or ("all" if len(transactions) <= EXPLAIN_ALL_UP_TO else "alerts")
        answers: list[bytes] = []
        for chunk in _chunks(transactions, self._batch_size):
            answers += self._predict_chunk(chunk, explain=wanted, client=client)
        return answers

    def _predict_chunk(self, chunk: Sequence[Transaction], *, explain: str, client: str) -> list[bytes]:
        claims = self._claim(chunk)
        answers = {
            claim.transaction.transaction_id: claim.answer for claim in claims if claim.answer is not None
        }
        open_claims = list(
            {
                claim.transaction.transaction_id: claim
                for claim in claims
                if claim.transaction.transaction_id not in answers
            }.values()
        )
        try:
            decisions = self._score(open_claims, explain=explain, client=client)
            decided = self._store.decide(decisions, seal=self._seal, now_us=self._now_us())
        except BaseException:
            # A retry need not wait for the lease. The events stay: they did arrive.
            self._store.release(open_claims)
            raise
        for claim, answer in zip(open_claims, decided, strict=True):
            answers[claim.transaction.transaction_id] = answer
        return [answers[transaction.transaction_id] for transaction in chunk]

    def _claim(self, chunk: Sequence[Transaction]) -> list[Claim]:
        for attempt in range(_CLAIM_TRIES):
            try:
                return self._store.claim(
                    chunk,
                    worker=this_worker(),
                    now_us=self._now_us(),
                    live_sql=self._scorer.bundle.live_sql,
                )
            except ClaimInProgressError:
                if attempt == _CLAIM_TRIES - 1:
                    raise
                time.sleep(_CLAIM_WAIT_SECONDS)
        raise AssertionError("unreachable")

    def _score(self, claims: Sequence[Claim], *, explain: str, client: str) -> list[Decision]:
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
            record=orjson.dumps(record),
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
    causes = [f"stale_{view.removeprefix('customer_')}" for view in online.stale]
    if transaction.customer_id is not None and online.event_us.get("customer_profile") is None:
        causes.append("no_profile")
    return causes


def _versions(scorer: Scorer) -> dict[str, Any]:
    bundle = scorer.bundle
    return {
        "bundle_sha256": bundle.sha256,
        "sql_sha256": bundle.sql_sha256,
        "thresholds": asdict(bundle.thresholds),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _chunks(transactions: Sequence[Transaction], size: int) -> Iterator[Sequence[Transaction]]:
    for start in range(0, len(transactions), size):
        yield transactions[start : start + size]
