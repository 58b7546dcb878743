"""The scoring service: a Flask application whose resources are one small file each.

``create_app`` is the factory that ``flask --app api run`` and the server use.
"""

from __future__ import annotations

from typing import Final

from flask import Flask

from api.settings import ApiSettings

_BYTES_PER_TRANSACTION: Final = 4 * 1024
_LEAST_BODY_BYTES: Final = 1024 * 1024


def create_app(settings: ApiSettings | None = None) -> Flask:
    """Create the application.

    Parameters
    ----------
    settings : ApiSettings, optional
        By default from the environment.

    Raises
    ------
    warehouse.errors.SettingsError
        When a secret is missing.
    """
    # Imported here: the settings alone must not load models and stores.
    from api.access.tokens import create_token_manager
    from api.access.transport import register_transport
    from api.errors import register_errors
    from api.request_log import register_request_log
    from api.resources import health, labels, predict, token
    from api.serving.services import Services

    settings = settings or ApiSettings.from_environment()
    services = Services(settings)
    app = Flask("api", static_folder=None)
    app.extensions["cbp"] = services
    app.config["MAX_CONTENT_LENGTH"] = max(_LEAST_BODY_BYTES, settings.max_batch * _BYTES_PER_TRANSACTION)
    register_request_log(app)
    register_errors(app)
    register_transport(app)
    create_token_manager(app, settings.jwt_secret, is_active=services.is_client_active)
    for module in (health, labels, predict, token):
        app.register_blueprint(module.blueprint)
    return app
