"""Settings of the API: secrets and limits, built once from the environment. There is no default secret."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from warehouse.errors import SettingsError
from warehouse.settings import PROJECT_ROOT, Settings

_MIN_SECRET_CHARACTERS: Final = 32
_AES_KEY_BYTES: Final = 32


@dataclass(frozen=True)
class ApiSettings:
    """What the API needs besides its home.

    Parameters
    ----------
    home : Settings
        Paths of the home.
    jwt_secret : str
        Signs tokens (``JWT_SECRET``, at least 32 characters).
    api_key_secret : bytes
        Keys the HMAC-SHA-256 of API keys (``API_KEY_SECRET``, at least 32 characters).
    aes_keys : tuple of bytes
        Keys of the audit log, 32 bytes each, base64 or hexadecimal in the environment: the first seals
        (``AES_KEY``), the others only open (``AES_KEY_PREVIOUS``, separated by commas).
    prediction_log : Path
        Active segment of the audit log (``PREDICTION_LOG``, by default ``audit/predictions.log`` at home).
    batch_size : int
        Transactions scored in one claim (``BATCH_SIZE``, 512).
    max_batch : int
        Transactions accepted in one request (``MAX_BATCH``, 5,000).
    token_seconds : int
        Life of a token (``TOKEN_SECONDS``, 900).
    """

    home: Settings
    jwt_secret: str = field(repr=False)
    api_key_secret: bytes = field(repr=False)
    aes_keys: tuple[bytes, ...] = field(repr=False)
    prediction_log: Path
    batch_size: int = 512
    max_batch: int = 5_000
    token_seconds: int = 900

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> ApiSettings:
        """Build settings from environment variables; relative paths are below the project's root.

        Raises
        ------
        SettingsError
            When a secret is missing or too short, or a number is not one.
        """
        env = os.environ if environment is None else environment
        home = Settings.from_environment(env)
        log = env.get("PREDICTION_LOG")
        return cls(
            home=home,
            jwt_secret=_secret(env, "JWT_SECRET"),
            api_key_secret=_secret(env, "API_KEY_SECRET").encode(),
            aes_keys=_aes_keys(env),
            prediction_log=(PROJECT_ROOT / log).resolve() if log else home.home / "audit" / "predictions.log",
            batch_size=_count(env, "BATCH_SIZE", 512, most=2_000),
            max_batch=_count(env, "MAX_BATCH", 5_000, most=50_000),
            token_seconds=_count(env, "TOKEN_SECONDS", 900, most=86_400),
        )


def generate_keys() -> dict[str, str]:
    """Make a fresh set of secrets, as environment variables."""
    return {
        "JWT_SECRET": secrets.token_urlsafe(48),
        "API_KEY_SECRET": secrets.token_urlsafe(48),
        "AES_KEY": base64.b64encode(secrets.token_bytes(_AES_KEY_BYTES)).decode(),
    }


def _required(env: Mapping[str, str], name: str) -> str:
    value = env.get(name)
    if not value:
        raise SettingsError(f"{name} is not set: `cbp keys generate` prints a fresh set for the file .env")
    return value


def _secret(env: Mapping[str, str], name: str) -> str:
    value = _required(env, name)
    if len(value) < _MIN_SECRET_CHARACTERS:
        raise SettingsError(
            f"{name} must have at least {_MIN_SECRET_CHARACTERS} characters, got {len(value)}"
        )
    return value


def _aes_keys(env: Mapping[str, str]) -> tuple[bytes, ...]:
    keys = [_aes_key(_required(env, "AES_KEY"), "AES_KEY")]
    previous = env.get("AES_KEY_PREVIOUS") or ""
    return (*keys, *(_aes_key(text, "AES_KEY_PREVIOUS") for text in previous.split(",") if text.strip()))


def _aes_key(text: str, name: str) -> bytes:
    for decode in (bytes.fromhex, _base64):
        try:
            key = decode(text.strip())
        except (binascii.Error, ValueError):
            continue
        if len(key) == _AES_KEY_BYTES:
            return key
    raise SettingsError(
        f"{name} must be {_AES_KEY_BYTES} bytes in base64 or hexadecimal: "
        "`cbp keys generate` prints a fresh one"
    )


def _base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _count(env: Mapping[str, str], name: str, default: int, *, most: int) -> int:
    text = env.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise SettingsError(f"{name} must be a whole number from 1 to {most}, got {text!r}")
    return int(text)
