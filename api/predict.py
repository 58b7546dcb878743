"""``POST /predict``: transactions for decisions."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, request
from flask_jwt_extended import get_jwt, get_jwt_identity, jwt_required

from api.errors import RequestError
from api.schemas import parse_predict
from api.services import now_us, services

blueprint = Blueprint("predict", __name__)


@blueprint.post("/predict")
@jwt_required()  # type: ignore[untyped-decorator]
def post_predict() -> Response:
    """Decide up to MAX_BATCH transactions; each answer stands for good, however often it is asked."""
    if get_jwt().get("role") != "scorer":
        raise RequestError(HTTPStatus.FORBIDDEN, "wrong_role", "this token's role may not score")
    opened = services()
    body = parse_predict(request.get_data(), max_batch=opened.settings.max_batch, now_us=now_us())
    transactions = [transaction.transaction() for transaction in body.transactions]
    answers = opened.scoring().predict(transactions, explain=body.explain, client=get_jwt_identity())
    return Response(b'{"predictions":[' + b",".join(answers) + b"]}", mimetype="application/json")
