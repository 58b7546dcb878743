"""The scoring service: a Flask application whose resources are one small file each.

``create_app`` is the factory that ``flask --app api run`` and the server use.
"""

from __future__ import annotations

from flask import Flask

from api.settings import ApiSettings

_BYTES_PER_TRANSACTION = 16 * 1024


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
    from flask_jwt_extended import JWTManager

    from api import health, predict, token
    from api.errors import register_errors
    from api.services import Services
    from api.transport import register_transport

    settings = settings or ApiSettings.from_environment()
    app = Flask("api", static_folder=None)
    app.config.update(
        JWT_SECRET_KEY=settings.jwt_secret,
        JWT_ALGORITHM="HS256",
        JWT_TOKEN_LOCATION=["headers"],
        MAX_CONTENT_LENGTH=settings.max_batch * _BYTES_PER_TRANSACTION,
    )
    register_errors(app, JWTManager(app))
    register_transport(app)
    for module in (health, predict, token):
        app.register_blueprint(module.blueprint)
    app.extensions["cbp"] = Services(settings)
    return app
