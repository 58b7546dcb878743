"""``POST /token``: an API key for a token."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from flask import Blueprint, Response, jsonify, request

from api.access.clients import authenticate
from api.access.tokens import issue_token
from api.errors import RequestError
from api.schemas import parse_token
from api.serving.services import services

blueprint = Blueprint("token", __name__)

_BODY_BYTES: Final = 4 * 1024


@blueprint.post("/token")
def post_token() -> Response:
    """Answer a token that lives for a few minutes and carries the client's role."""
    request.max_content_length = _BODY_BYTES  # whoever asks is not known yet
    body = parse_token(request.get_data())
    opened = services()
    client = authenticate(opened.store(), opened.settings.api_key_secret, body.api_key)
    if client is None:
        raise RequestError(HTTPStatus.UNAUTHORIZED, "wrong_api_key", "the API key is not valid")
    seconds = opened.settings.token_seconds
    token = issue_token(client, seconds=seconds)
    return jsonify({"access_token": token, "token_type": "Bearer", "expires_in": seconds})
