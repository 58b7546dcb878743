"""One line of JSON for each request, without personal data: no address, no body, no transaction, no query.

The same id stands in the answer's header ``X-Request-Id``, so that an answer and its line can be matched.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from datetime import UTC, datetime
from typing import Any, Final

from flask import Flask, Response, g, request

logger = logging.getLogger("cbp.request")

_NOTES: Final = "request_notes"
_STARTED: Final = "request_started"


def register_request_log(app: Flask) -> None:
    """Write a line for each request that an application answers."""
    app.before_request(_start)
    app.after_request(_finish)


def note(**values: str | int) -> None:
    """Add values to the line of the current request; never anything that a person sent."""
    g.setdefault(_NOTES, {}).update(values)


def _start() -> None:
    g.setdefault(_STARTED, time.perf_counter())


def _finish(response: Response) -> Response:
    request_id = secrets.token_hex(8)
    response.headers["X-Request-Id"] = request_id
    line = {
        "request_id": request_id,
        "method": request.method,
        # The rule, not the path: a path may hold anything.
        "route": request.url_rule.rule if request.url_rule is not None else None,
        "status": response.status_code,
        "milliseconds": round((time.perf_counter() - g.get(_STARTED, time.perf_counter())) * 1e3, 3),
        **g.get(_NOTES, {}),
    }
    logger.info("request", extra={"fields": line})
    return response


class JsonFormatter(logging.Formatter):
    """Formats a log record as one line of JSON; `extra={"fields": {...}}` adds values."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields: dict[str, Any] = getattr(record, "fields", {})
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging() -> None:
    """Send the product's log to standard error, one line of JSON each."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    product = logging.getLogger("cbp")
    product.handlers = [handler]
    product.setLevel(logging.INFO)
    product.propagate = False
