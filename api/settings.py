"""Settings of the API: secrets, limits and where the audit log lies. Built once, from the environment."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from api.audit import Keyring
from warehouse.errors import SettingsError
from warehouse.settings import PROJECT_ROOT, Settings

MIN_SECRET_LENGTH: Final = 32
SECRET_NAMES: Final = ("JWT_SECRET", "API_KEY_SECRET", "AES_KEY")
_ASK_FOR_KEYS: Final = "`cbp keys generate` prints a fresh set"


@dataclass(frozen=True)
class ApiSettings:
    """Everything that the API needs to know.

    Parameters
    ----------
    home : Settings
        Paths of one home (``CBP_HOME`` and its kin).
    jwt_secret : str
        Signs tokens (``JWT_SECRET``, at least 32 characters).
    api_key_secret : str
        Keys the HMAC of API keys (``API_KEY_SECRET``, at least 32 characters).
    keyring : Keyring
        Seals and opens audit records (``AES_KEY``; ``AES_KEY_PREVIOUS``: older ones, by comma, for reading).
    prediction_log : Path
        Active segment of the audit log (``PREDICTION_LOG``, by default ``audit/predictions.log`` in the home).
    batch_size : int
        Transactions that are claimed and decided together (``BATCH_SIZE``).
    max_batch : int
        Most transactions of one request (``MAX_BATCH``).
    token_lifetime_seconds : int
        How long a token is good (``TOKEN_LIFETIME_SECONDS``).
    max_body_bytes : int
        Longest request body (``MAX_BODY_BYTES``).
    """

    home: Settings
    jwt_secret: str = field(repr=False)
    api_key_secret: str = field(repr=False)
    keyring: Keyring = field(repr=False)
    prediction_log: Path
    batch_size: int = 512
    max_batch: int = 5_000
    token_lifetime_seconds: int = 900
    max_body_bytes: int = 16 * 2**20

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> ApiSettings:
        """Build settings from environment variables.

        Raises
        ------
        SettingsError
            A secret is missing or too short, or a number is malformed; the message never holds a secret.
        """
        env = os.environ if environment is None else environment
        home = Settings.from_environment(env)
        missing = [name for name in SECRET_NAMES if not env.get(name)]
        if missing:
            raise SettingsError(f"expected {', '.join(missing)} in the environment; {_ASK_FOR_KEYS}")
        previous = [part for part in env.get("AES_KEY_PREVIOUS", "").split(",") if part.strip()]
        log = env.get("PREDICTION_LOG")
        return cls(
            home=home,
            jwt_secret=_secret(env, "JWT_SECRET"),
            api_key_secret=_secret(env, "API_KEY_SECRET"),
            keyring=Keyring(
                _key(env["AES_KEY"], "AES_KEY"), tuple(_key(part, "AES_KEY_PREVIOUS") for part in previous)
            ),
            prediction_log=(PROJECT_ROOT / log).resolve() if log else home.home / "audit" / "predictions.log",
            batch_size=_number(env, "BATCH_SIZE", 512, highest=5_000),
            max_batch=_number(env, "MAX_BATCH", 5_000, highest=100_000),
            token_lifetime_seconds=_number(env, "TOKEN_LIFETIME_SECONDS", 900, highest=86_400),
            max_body_bytes=_number(env, "MAX_BODY_BYTES", 16 * 2**20, highest=2**30),
        )


def generate_keys() -> dict[str, str]:
    """Make a fresh set of secrets: values for the environment by name."""
    return {
        "JWT_SECRET": secrets.token_urlsafe(48),
        "API_KEY_SECRET": secrets.token_urlsafe(48),
        "AES_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
    }


def _secret(env: Mapping[str, str], name: str) -> str:
    if len(env[name]) < MIN_SECRET_LENGTH:
        raise SettingsError(
            f"{name}: expected at least {MIN_SECRET_LENGTH} characters, got {len(env[name])}; {_ASK_FOR_KEYS}"
        )
    return env[name]


def _key(text: str, name: str) -> bytes:
    text = text.strip()
    for decode in (bytes.fromhex, _base64):
        try:
            key = decode(text)
        except (ValueError, binascii.Error):
            continue
        if len(key) == 32:
            return key
    raise SettingsError(f"{name}: expected 32 bytes in base64 or hexadecimal; {_ASK_FOR_KEYS}")


def _base64(text: str) -> bytes:
    return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)


def _number(env: Mapping[str, str], name: str, default: int, *, highest: int) -> int:
    text = env.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= highest):
        raise SettingsError(f"{name}: expected a whole number from 1 to {highest}, got {text!r}")
    return int(text)
