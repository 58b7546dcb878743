"""What a request may hold: strict types, limits on everything, no unknown field."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from api.errors import RequestError
from warehouse.canonical import MAX_AHEAD_US, MAX_AMOUNT_MINOR, MAX_EVENT_US, MAX_ID_LENGTH, MIN_EVENT_US
from warehouse.live.events import Transaction
from warehouse.live.labels import Label
from warehouse.strict_json import parse_strict_json
from warehouse.times import to_us

Body = TypeVar("Body", bound=BaseModel)
_MAX_ATTRIBUTES: Final = 256
_MAX_DETAILS: Final = 20
# RFC 3339, section 5.6, with an offset; what is finer than a microsecond is cut off.
_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

# Control characters never stand in a name.
_PRINTABLE: Final = r"^[^\x00-\x1f\x7f]+$"
_Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH, pattern=_PRINTABLE)]
_Word = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_PRINTABLE)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Text = Annotated[str, StringConstraints(max_length=256)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TransactionBody(_Strict):
    """One payment attempt; `event_time` (RFC 3339 with offset) may stand for `event_us`."""

    transaction_id: _Id
    customer_id: _Id | None = None
    merchant_id: _Id | None = None
    event_us: Annotated[int, Field(ge=MIN_EVENT_US, lt=MAX_EVENT_US)] | None = None
    event_time: Annotated[str, StringConstraints(max_length=40)] | None = None
    amount_minor: Annotated[int, Field(ge=0, le=MAX_AMOUNT_MINOR)]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None
    category: _Word | None = None
    channel: _Word | None = None
    country: _Word | None = None
    latitude: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)] | None = None
    attributes: Annotated[dict[_Word, _Number | _Text], Field(max_length=_MAX_ATTRIBUTES)] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _check_pairs(self) -> TransactionBody:
        if (self.event_us is None) == (self.event_time is None):
            raise ValueError("expected exactly one of event_us and event_time")
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("expected both latitude and longitude, or neither")
        if not MIN_EVENT_US <= self.time_us() < MAX_EVENT_US:
            raise ValueError("expected an event_time from 1970 to 2099")
        return self

    def time_us(self) -> int:
        """Event time in UTC microseconds."""
        if self.event_us is not None:
            return self.event_us
        return _microseconds(self.event_time or "", "event_time")

    def transaction(self) -> Transaction:
        """Return it in canonical form."""
        numbers = {
            name: float(value) for name, value in self.attributes.items() if not isinstance(value, str)
        }
        texts = {name: value for name, value in self.attributes.items() if isinstance(value, str)}
        return Transaction(
            transaction_id=self.transaction_id,
            customer_id=self.customer_id,
            merchant_id=self.merchant_id,
            event_us=self.time_us(),
            amount_minor=self.amount_minor,
            currency=self.currency,
            category=self.category,
            channel=self.channel,
            country=self.country,
            latitude=self.latitude,
            longitude=self.longitude,
            attributes_number=numbers,
            attributes_text=texts,
        )


class PredictBody(_Strict):
    """Body of ``POST /predict``."""

    transactions: Annotated[list[TransactionBody], Field(min_length=1)]
    explain: Literal["all", "alerts", "none"] | None = None


class LabelBody(_Strict):
    """What became known of one transaction; `known_time` (RFC 3339 with offset) may stand for `known_us`."""

    transaction_id: _Id
    is_fraud: bool
    known_us: Annotated[int, Field(ge=MIN_EVENT_US, lt=MAX_EVENT_US)] | None = None
    known_time: Annotated[str, StringConstraints(max_length=40)] | None = None

    @model_validator(mode="after")
    def _check_time(self) -> LabelBody:
        if self.known_us is not None and self.known_time is not None:
            raise ValueError("expected at most one of known_us and known_time")
        if not MIN_EVENT_US <= (self.time_us() or MIN_EVENT_US) < MAX_EVENT_US:
            raise ValueError("expected a known_time from 1970 to 2099")
        return self

    def time_us(self) -> int | None:
        """When it became known in UTC microseconds; None when that is not said."""
        return self.known_us if self.known_time is None else _microseconds(self.known_time, "known_time")

    def label(self) -> Label:
        """Return it as the live store takes it."""
        return Label(self.transaction_id, self.is_fraud, self.time_us())


class LabelsBody(_Strict):
    """Body of ``POST /labels``."""

    labels: Annotated[list[LabelBody], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_once(self) -> LabelsBody:
        if len({label.transaction_id for label in self.labels}) != len(self.labels):
            raise ValueError("expected each transaction_id once in a request")
        return self


class TokenBody(_Strict):
    """Body of ``POST /token``."""

    api_key: Annotated[str, StringConstraints(min_length=1, max_length=200)]


def parse_body(body: bytes) -> dict[str, Any]:
    """Parse a request's body: one JSON object, no repeated key, no NaN.

    Raises
    ------
    RequestError
        422 when it is anything else.
    """
    try:
        parsed = parse_strict_json(body)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"the body is not JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise _invalid(f"expected a JSON object, got {type(parsed).__name__}")
    return parsed


def parse_predict(body: bytes, *, max_batch: int, now_us: int) -> PredictBody:
    """Parse and check the body of ``POST /predict``.

    Raises
    ------
    RequestError
        413 for more than `max_batch` transactions, 422 for anything else that does not fit.
    """
    request = _validate(PredictBody, _limited(parse_body(body), "transactions", max_batch))
    _refuse_future([transaction.time_us() for transaction in request.transactions], "transactions", now_us)
    return request


def is_acceptable(transaction: Mapping[str, Any], *, now_us: int) -> bool:
    """Say whether ``POST /predict`` takes a transaction, as far as its fields and its time tell."""
    try:
        return not _is_ahead(TransactionBody.model_validate(transaction).time_us(), now_us)
    except ValidationError:
        return False


def is_acceptable_label(label: Mapping[str, Any], *, now_us: int) -> bool:
    """Say whether ``POST /labels`` takes a label, as far as its fields and its time tell."""
    try:
        time_us = LabelBody.model_validate(label).time_us()
    except ValidationError:
        return False
    return time_us is None or not _is_ahead(time_us, now_us)


def parse_labels(body: bytes, *, max_batch: int, now_us: int) -> LabelsBody:
    """Parse and check the body of ``POST /labels``.

    Raises
    ------
    RequestError
        413 for more than `max_batch` labels, 422 for anything else that does not fit.
    """
    request = _validate(LabelsBody, _limited(parse_body(body), "labels", max_batch))
    _refuse_future([label.time_us() for label in request.labels], "labels", now_us)
    return request


def parse_token(body: bytes) -> TokenBody:
    """Parse and check the body of ``POST /token``."""
    return _validate(TokenBody, parse_body(body))


def _limited(parsed: dict[str, Any], field: str, most: int) -> dict[str, Any]:
    items = parsed.get(field)
    if isinstance(items, list) and len(items) > most:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"too_many_{field}",
            f"expected at most {most} {field} in a request, got {len(items)}",
        )
    return parsed


def _refuse_future(times_us: Sequence[int | None], field: str, now_us: int) -> None:
    for index, time_us in enumerate(times_us):
        if time_us is not None and _is_ahead(time_us, now_us):
            raise _invalid(
                f"{field}.{index} is of more than 5 minutes after now: check the clock",
                [{"field": f"{field}.{index}", "message": "time in the future"}],
            )


def _is_ahead(time_us: int, now_us: int) -> bool:
    return time_us > now_us + MAX_AHEAD_US


def _microseconds(text: str, field: str) -> int:
    if not _RFC_3339.fullmatch(text):
        raise ValueError(f"expected {field} after RFC 3339 with an offset, 2026-01-31T12:00:00Z")
    return to_us(datetime.fromisoformat(text.upper()))


def _validate(model: type[Body], parsed: Mapping[str, Any]) -> Body:
    try:
        return model.model_validate(parsed)
    except ValidationError as error:
        details = [
            {"field": ".".join(str(part) for part in item["loc"]), "message": item["msg"]}
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise _invalid(
            f"{error.error_count()} values do not fit; see details", details[:_MAX_DETAILS]
        ) from None


def _invalid(message: str, details: list[dict[str, Any]] | None = None) -> RequestError:
    return RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", message, details or [])
