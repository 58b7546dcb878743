"""``POST /labels``: what became known of transactions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from flask import Blueprint, Response, jsonify, request
from flask_jwt_extended import get_jwt_identity

from api.access.tokens import demand, requires
from api.request_log import note
from api.schemas import parse_labels
from api.serving.services import services
from warehouse.times import now_us

blueprint = Blueprint("labels", __name__)

SOURCE_PREFIX: Final = "api:"
"""Before the client's id, in the `source` of a label that came here."""


@blueprint.post("/labels")
@requires("label")
def post_labels() -> Response:
    """Record up to MAX_BATCH labels, all or none; telling the same again adds nothing."""
    opened = services()
    received_us = now_us()
    body = parse_labels(request.get_data(), max_batch=opened.settings.max_batch, now_us=received_us)
    labels = [label.label() for label in body.labels]
    if any(label.known_us is not None for label in labels):
        demand("date_labels", "known_us: a label counts from now")
    note(labels=len(labels))
    source = SOURCE_PREFIX + get_jwt_identity()
    recorded = opened.store().record_labels(labels, source=source, now_us=received_us)
    return jsonify({"labels": [asdict(label) for label in recorded]})
