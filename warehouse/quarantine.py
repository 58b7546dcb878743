"""Why a row is refused: one fixed sentence each, so that reports count them and tests compare them."""

from __future__ import annotations

from enum import StrEnum


class Problem(StrEnum):
    """Reason of a quarantined row. The first that applies, in this order, is the one that is kept."""

    NOT_UTF8 = "malformed line: not valid UTF-8"
    NUL_BYTE = "malformed line: holds a NUL byte"
    WRONG_QUOTES = "malformed line: a quote opens or closes in the wrong place"
    WRONG_COLUMNS = "malformed line: another number of columns than the header"
    NOT_A_JSON_OBJECT = "malformed line: not a JSON object"
    NESTED_VALUE = "a mapped column holds a list or an object"
    REFUND = "refund or reversal: only payments are transactions"
    UNKNOWN_KIND = "kind is none of those that the mapping names"
    TRANSACTION_ID_MISSING = "transaction_id is missing"
    ID_TOO_LONG = "an id is too long"
    CUSTOMER_ID_MISSING = "customer_id is missing"
    MERCHANT_ID_MISSING = "merchant_id is missing"
    EVENT_TIME_MISSING = "event time is missing"
    EVENT_TIME_UNREADABLE = "event time can't be read"
    EVENT_TIME_OUT_OF_RANGE = "event time is outside 1970 to 2099"
    AMOUNT_MISSING = "amount is missing"
    AMOUNT_NOT_A_NUMBER = "amount is not a number"
    AMOUNT_NEGATIVE = "amount is negative"
    AMOUNT_TOO_LARGE = "amount is too large"
    AMOUNT_FRACTION = "amount is not a whole number of minor units"
    REQUIRED_VALUE_MISSING = "a value that the mapping requires is missing"
    PLACE_UNREADABLE = "latitude or longitude is not a number in range"
    INGESTED_TIME_UNREADABLE = "ingested time can't be read"
    ATTRIBUTE_NOT_A_NUMBER = "an attribute is not a number"
    LABEL_UNREADABLE = "label is neither true nor false"
    LABEL_TIME_UNREADABLE = "label time is missing or can't be read"
    LABEL_BEFORE_EVENT = "label is known before the event"
    CONFLICT = "conflicts with an earlier row of the same transaction_id"
