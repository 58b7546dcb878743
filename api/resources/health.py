"""``GET /health/live`` and ``GET /health/ready``."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, jsonify

from api.errors import RequestError
from api.serving.services import services

blueprint = Blueprint("health", __name__, url_prefix="/health")


@blueprint.get("/live")
def get_live() -> Response:
    """Say that the process answers; asks nothing of the stores, so it is the floor of every latency."""
    return jsonify({"status": "live"})


@blueprint.get("/ready")
def get_ready() -> Response:
    """Say whether transactions can be scored now, else why not."""
    problems = services().problems()
    if problems:
        raise RequestError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "not_ready",
            "transactions can't be scored now",
            [{"cause": problem} for problem in problems],
        )
    return jsonify({"status": "ready"})
