"""``POST /predict``: transactions for decisions."""

from __future__ import annotations

from flask import Blueprint, Response, request
from flask_jwt_extended import get_jwt_identity

from api.access.tokens import requires
from api.request_log import note
from api.schemas import parse_predict
from api.serving.services import services
from warehouse.times import now_us

blueprint = Blueprint("predict", __name__)


@blueprint.post("/predict")
@requires("predict")
def post_predict() -> Response:
    """Decide up to MAX_BATCH transactions; each answer stands for good, however often it is asked."""
    opened = services()
    body = parse_predict(request.get_data(), max_batch=opened.settings.max_batch, now_us=now_us())
    transactions = [transaction.transaction() for transaction in body.transactions]
    note(transactions=len(transactions))
    answers = opened.scoring().predict(transactions, explain=body.explain, client=get_jwt_identity())
    return Response(b'{"predictions":[' + b",".join(answers) + b"]}", mimetype="application/json")
