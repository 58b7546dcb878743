"""One JSON shape for every error: ``{"error": {"code", "message", "details"}}``.

::

    warehouse.errors.CbpError
    └── RequestError        the request can't be served; carries status, code and details

The table `_STATUS` maps the product's own errors to HTTP; anything else is a 500 that says nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from ml.errors import FeatureRowError
from warehouse.errors import CbpError, InputError, OperationError
from warehouse.live.claims import ClaimInProgressError, ClaimLostError, ConflictError
from warehouse.live.labels import LabelConflictError

logger = logging.getLogger("cbp.api")


class RequestError(CbpError):
    """A request that can't be served.

    Parameters
    ----------
    status : HTTPStatus
        Answered with.
    code : str
        For programs.
    message : str
        For people.
    details : sequence of dict
        Where exactly, if that can be said.
    """

    def __init__(
        self, status: HTTPStatus, code: str, message: str, details: Sequence[dict[str, Any]] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = list(details)


_STATUS: Final[tuple[tuple[type[CbpError], HTTPStatus, str], ...]] = (
    (ConflictError, HTTPStatus.CONFLICT, "conflict"),
    (ClaimInProgressError, HTTPStatus.SERVICE_UNAVAILABLE, "busy"),
    (ClaimLostError, HTTPStatus.SERVICE_UNAVAILABLE, "busy"),
    # The caller sent a transaction; what became of it on the way to the model is ours.
    (FeatureRowError, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
    (LabelConflictError, HTTPStatus.CONFLICT, "conflict"),
    (InputError, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid"),
    (OperationError, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
)
# What these say names nothing but the caller's own input; others may name paths and are kept in the log.
_OPEN: Final = (ConflictError, ClaimInProgressError, ClaimLostError, LabelConflictError)


def register_errors(app: Flask) -> None:
    """Give every error of an application the one shape."""
    app.register_error_handler(RequestError, _request_error)
    app.register_error_handler(CbpError, _product_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected_error)


def error_response(
    status: HTTPStatus, code: str, message: str, details: Sequence[dict[str, Any]] = ()
) -> Response:
    """Build an error's answer."""
    response = jsonify({"error": {"code": code, "message": message, "details": list(details)}})
    response.status_code = status
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = "1"
    return response


def _request_error(error: RequestError) -> Response:
    return error_response(error.status, error.code, str(error), error.details)


def _product_error(error: CbpError) -> Response:
    status, code = next((status, code) for kind, status, code in _STATUS if isinstance(error, kind))
    if isinstance(error, _OPEN):
        return error_response(status, code, str(error))
    logger.error("%s: %s", type(error).__name__, error)
    return error_response(
        status, code, "the service can't answer now: send the same again; what is decided stays"
    )


def _http_error(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    response = error_response(status, status.name.lower(), status.description or status.phrase)
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _unexpected_error(error: Exception) -> Response:
    logger.error("unexpected error", exc_info=error)
    return error_response(
        HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "something went wrong on our side; send the same again"
    )
