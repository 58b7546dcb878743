"""Sends transactions to the API as any client would, and measures each request."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import httpx
import numpy as np
import pyarrow as pa

from warehouse.canonical import ATTRIBUTE_FIELDS, PLAIN_FIELDS
from warehouse.errors import OperationError

_LABELS_PER_REQUEST: Final = 1_000
_RETRY_SECONDS: Final = 1.0


class ScoringClient:
    """One connection to the API; asks for another token when its own has expired.

    Parameters
    ----------
    url : str
        Base URL.
    api_key : str
        Exchanged for a token at once.

    Attributes
    ----------
    latencies_ms : list of float
        Wall-clock time of each ``POST /predict``, in order.
    """

    def __init__(self, url: str, api_key: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60.0)
        self._api_key = api_key
        self._renew_token()
        self.latencies_ms: list[float] = []

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def predict(self, transactions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Score transactions; returns one prediction for each, in order.

        Raises
        ------
        OperationError
            When the API does not answer 200.
        """
        started = time.perf_counter()
        answer = self._answer("/predict", {"transactions": list(transactions)})
        self.latencies_ms.append((time.perf_counter() - started) * 1000.0)
        predictions: list[dict[str, Any]] = answer["predictions"]
        return predictions

    def tell(self, labels: Sequence[Mapping[str, Any]]) -> None:
        """Tell labels, each transaction once.

        Raises
        ------
        OperationError
            When the API does not answer 200.
        """
        for start in range(0, len(labels), _LABELS_PER_REQUEST):
            self._answer("/labels", {"labels": list(labels[start : start + _LABELS_PER_REQUEST])})

    def _answer(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        response = self._post(path, body)
        if response.status_code == httpx.codes.UNAUTHORIZED and path != "/token":
            self._renew_token()
            response = self._post(path, body)
        if response.status_code != httpx.codes.OK:
            raise OperationError(f"POST {path}: expected 200, got {response.status_code}: {response.text}")
        answer: dict[str, Any] = response.json()
        return answer

    def _post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        """Send a request; once more where a worker died over it: what was decided is answered the same."""
        try:
            return self._http.post(path, json=body)
        except httpx.TransportError:
            time.sleep(_RETRY_SECONDS)
        try:
            return self._http.post(path, json=body)
        except httpx.TransportError as error:
            raise OperationError(
                f"POST {path}: the server doesn't answer ({type(error).__name__}: {error}); its log is "
                "logs/server.log in the home that it serves"
            ) from error

    def _renew_token(self) -> None:
        token = self._answer("/token", {"api_key": self._api_key})["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"


def requests_from(table: pa.Table) -> Iterable[dict[str, Any]]:
    """Transactions of a canonical table in the API's form: fields that are null are left out."""
    maps = [name for name in ATTRIBUTE_FIELDS if name in table.column_names]
    fields = [name for name in PLAIN_FIELDS if name in table.column_names]
    for row in table.select([*fields, *maps]).to_pylist():
        request = {name: row[name] for name in fields if row[name] is not None}
        attributes = {key: value for name in maps for key, value in row[name] or ()}
        if attributes:
            request["attributes"] = attributes
        yield request


def percentiles(milliseconds: Sequence[float]) -> dict[str, float]:
    """Return the 50th and 99th percentile, as ``p50`` and ``p99``."""
    return {f"p{percent}": round(float(np.percentile(milliseconds, percent)), 2) for percent in (50, 99)}
