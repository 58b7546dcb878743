"""Tokens: who they are for, what their holder may do, and how a bad one is answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import wraps
from http import HTTPStatus
from typing import Any, ParamSpec, TypeVar

from flask import Flask, Response
from flask_jwt_extended import JWTManager, create_access_token, get_jwt, jwt_required

from api.access.clients import may
from api.errors import RequestError, error_response
from warehouse.live.clients import Client

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


def create_token_manager(app: Flask, secret: str, *, is_active: Callable[[str], bool]) -> JWTManager:
    """Let an application read tokens: HMAC-SHA-256, from the header ``Authorization: Bearer …`` alone.

    Parameters
    ----------
    app : Flask
    secret : str
        Signs the tokens.
    is_active : callable
        Says whether a client may still use its tokens.
    """
    app.config.update(
        JWT_SECRET_KEY=secret,
        JWT_ALGORITHM="HS256",
        JWT_DECODE_ALGORITHMS=["HS256"],
        JWT_TOKEN_LOCATION=["headers"],
    )
    manager = JWTManager(app)
    manager.unauthorized_loader(lambda _: _refused("no_token", "expected a token: Authorization: Bearer …"))
    manager.invalid_token_loader(lambda _: _refused("invalid_token", "the token is not valid"))
    manager.expired_token_loader(lambda *_: _refused("expired_token", "the token has expired: get another"))
    manager.revoked_token_loader(lambda *_: _refused("invalid_token", "the token is not valid"))

    def is_blocked(_header: Mapping[str, Any], payload: Mapping[str, Any]) -> bool:
        return not is_active(str(payload["sub"]))

    manager.token_in_blocklist_loader(is_blocked)
    return manager


def issue_token(client: Client, *, seconds: int) -> str:
    """Make a token that names a client and its role."""
    token: str = create_access_token(
        identity=client.client_id,
        additional_claims={"role": client.role},
        expires_delta=timedelta(seconds=seconds),
    )
    return token


def requires(action: str) -> Callable[[Callable[_Arguments, _Answer]], Callable[_Arguments, _Answer]]:
    """Let a view be called only with a good token whose role allows `action` (see `ROLES`)."""

    def decorate(view: Callable[_Arguments, _Answer]) -> Callable[_Arguments, _Answer]:
        @wraps(view)
        def checked(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Answer:
            demand(action)
            return view(*args, **kwargs)

        protected: Callable[_Arguments, _Answer] = jwt_required()(checked)
        return protected

    return decorate


def demand(action: str, told: str | None = None) -> None:
    """Refuse a request whose good token's role does not allow `action`, told as `told`.

    Raises
    ------
    RequestError
        403.
    """
    if not may(get_jwt().get("role"), action):
        message = f"this token's role does not allow {told or repr(action)}"
        raise RequestError(HTTPStatus.FORBIDDEN, "wrong_role", message)


def _refused(code: str, message: str) -> Response:
    response = error_response(HTTPStatus.UNAUTHORIZED, code, message)
    response.headers["WWW-Authenticate"] = "Bearer"
    return response
