"""How a request may reach us: over TLS, or from this very machine; never over plain HTTP from elsewhere."""

from __future__ import annotations

import ipaddress
from http import HTTPStatus
from typing import Final

from flask import Flask, Response, request

from api.errors import RequestError

_FORWARDING_HEADERS: Final = ("forwarded", "via", "x-real-ip")
_FORWARDING_PREFIX: Final = "x-forwarded-"


def register_transport(app: Flask) -> None:
    """Refuse plain HTTP from elsewhere, and set the headers of every answer."""
    app.before_request(_refuse_plain_http)
    app.after_request(_add_headers)


def _refuse_plain_http() -> None:
    if request.scheme == "https":
        return
    # A proxy on this machine is a loopback peer too; what it forwards came from elsewhere.
    if _is_forwarded() or not _is_loopback(request.remote_addr):
        raise RequestError(
            HTTPStatus.FORBIDDEN, "tls_required", "expected HTTPS; plain HTTP is served to this machine only"
        )


def _is_forwarded() -> bool:
    names = [name.lower() for name in request.headers.keys()]  # noqa: SIM118 - iterating gives pairs
    return any(name in _FORWARDING_HEADERS or name.startswith(_FORWARDING_PREFIX) for name in names)


def _is_loopback(address: str | None) -> bool:
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def _add_headers(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
    response.headers["Referrer-Policy"] = "no-referrer"
    if request.scheme == "https":
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    return response
