"""How a request may reach us: over TLS, or from this very machine; never over plain HTTP from elsewhere."""

from __future__ import annotations

import ipaddress
from http import HTTPStatus
from typing import Final

from flask import Flask, Response, request

from api.errors import RequestError

FORWARDING_HEADERS: Final = (
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
)


def register_transport(app: Flask) -> None:
    """Refuse plain HTTP from elsewhere, and set the headers of every answer."""
    app.before_request(_refuse_plain_http)
    app.after_request(_add_headers)


def _refuse_plain_http() -> None:
    if request.scheme == "https":
        return
    forwarded = [name for name in FORWARDING_HEADERS if name in request.headers]
    if forwarded or not _is_loopback(request.remote_addr):
        raise RequestError(
            HTTPStatus.FORBIDDEN, "tls_required", "expected HTTPS; plain HTTP is served to this machine only"
        )


def _is_loopback(address: str | None) -> bool:
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


def _add_headers(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
    return response
