"""Settings of the API: no default secret, clear words, nothing shown."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from api.settings import ApiSettings, generate_keys
from warehouse.errors import SettingsError
from warehouse.settings import PROJECT_ROOT, Settings

SECRETS = generate_keys()


def test_generated_keys_are_fresh_and_enough() -> None:
    assert generate_keys() != generate_keys()
    settings = ApiSettings.from_environment({**SECRETS, "CBP_HOME": "/somewhere"})
    assert (settings.batch_size, settings.max_batch, settings.token_seconds) == (512, 5_000, 900)
    assert settings.prediction_log == Path("/somewhere/audit/predictions.log")
    assert [len(key) for key in settings.aes_keys] == [32]


def test_a_relative_path_is_below_the_projects_root() -> None:
    given = {"CBP_LIVE_STORE": "sqlite:///state/live.db?timeout=9", "PREDICTION_LOG": "state/log"}
    settings = ApiSettings.from_environment({**SECRETS, **given})
    assert settings.prediction_log == PROJECT_ROOT / "state" / "log"
    assert settings.home.live_store_url == f"sqlite:///{PROJECT_ROOT}/state/live.db?timeout=9"
    for url in ("sqlite:////abs/live.db", "postgresql://host/name", "sqlite://"):
        assert Settings.from_environment({"CBP_LIVE_STORE": url}).live_store_url == url


def test_no_secret_is_shown() -> None:
    settings = ApiSettings.from_environment(SECRETS)
    for secret in SECRETS.values():
        assert secret not in repr(settings)
    assert repr(settings.aes_keys[0]) not in repr(settings)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("value", [None, "", "c2hvcnQ="])
def test_a_missing_or_short_secret_is_named_and_not_shown(name: str, value: str | None) -> None:
    environment = {key: secret for key, secret in SECRETS.items() if key != name}
    if value is not None:
        environment[name] = value
    with pytest.raises(SettingsError, match=name) as error:
        ApiSettings.from_environment(environment)
    assert not value or value not in str(error.value)


def test_keys_may_be_base64_or_hexadecimal_and_older_ones_kept_for_reading() -> None:
    new, old, older = (bytes([number]) * 32 for number in (250, 2, 3))
    settings = ApiSettings.from_environment(
        {
            **SECRETS,
            "AES_KEY": base64.b64encode(new).decode(),
            "AES_KEY_PREVIOUS": f"{old.hex()}, {base64.b64encode(older).decode()}",
        }
    )
    assert settings.aes_keys == (new, old, older)


@pytest.mark.parametrize("name", ["BATCH_SIZE", "MAX_BATCH", "TOKEN_SECONDS"])
@pytest.mark.parametrize("value", ["0", "-1", "many", "1e3", "٣", "9999999"])
def test_a_number_that_is_none_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        ApiSettings.from_environment({**SECRETS, name: value})
    assert ApiSettings.from_environment({**SECRETS, name: "7"})
