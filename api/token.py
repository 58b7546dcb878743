"""``POST /token``: an API key for a token."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus

from flask import Blueprint, Response, jsonify, request
from flask_jwt_extended import create_access_token

from api.clients import authenticate
from api.errors import RequestError
from api.schemas import parse_token
from api.services import services

blueprint = Blueprint("token", __name__)


@blueprint.post("/token")
def post_token() -> Response:
    """Answer a token that lives for a few minutes and carries the client's role."""
    body = parse_token(request.get_data())
    opened = services()
    client = authenticate(opened.live_store, opened.settings.api_key_secret, body.api_key)
    if client is None:
        raise RequestError(HTTPStatus.UNAUTHORIZED, "wrong_api_key", "the API key is not valid")
    seconds = opened.settings.token_seconds
    token = create_access_token(
        identity=client.client_id,
        additional_claims={"role": client.role},
        expires_delta=timedelta(seconds=seconds),
    )
    return jsonify({"access_token": token, "token_type": "Bearer", "expires_in": seconds})
