"""Settings: sensible without any, refused with words when they are wrong or misspelt."""

from __future__ import annotations

import os
from pathlib import Path

import pydantic
import pytest

from controlplane import settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(settings.PREFIX):
            monkeypatch.delenv(name)


def test_nothing_needs_to_be_set() -> None:
    read = settings.read()
    assert (read.api_host, read.api_port, read.xds_port, read.ingress_port) == ("127.0.0.1", 8700, 8701, 8080)
    assert read.store_url == f"sqlite:///{Path('.slipway/slipway.db').absolute()}"


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLIPWAY_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("SLIPWAY_API_PORT", "0")
    monkeypatch.setenv("SLIPWAY_XDS_PORT", "0")
    monkeypatch.setenv("SLIPWAY_MLFLOW_URI", "https://mlflow.example/")
    read = settings.read()
    assert (read.api_port, read.xds_port, read.mlflow_uri) == (0, 0, "https://mlflow.example")
    assert read.store_url == f"sqlite:///{tmp_path}/slipway.db"
    monkeypatch.setenv("SLIPWAY_DATABASE_URL", "sqlite:////elsewhere.db")
    assert settings.read().store_url == "sqlite:////elsewhere.db"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SLIPWAY_API_PROT", "1", "SLIPWAY_API_PROT: there is no such setting; did you mean SLIPWAY_API_PORT?"),
        ("SLIPWAY_API_PORT", "many", "SLIPWAY_API_PORT: Input should be a valid integer"),
        ("SLIPWAY_API_PORT", "70000", "SLIPWAY_API_PORT: Input should be less than or equal to 65535"),
        ("SLIPWAY_API_PORT", "8080", "ingress_port and api_port are both 8080"),
        ("SLIPWAY_TICK_S", "0", "SLIPWAY_TICK_S: Input should be greater than 0"),
        ("SLIPWAY_MLFLOW_URI", "localhost:5000", "SLIPWAY_MLFLOW_URI: must begin with http://"),
        ("SLIPWAY_LOG_LEVEL", "LOUD", "SLIPWAY_LOG_LEVEL: Input should be 'DEBUG'"),
    ],
)
def test_what_is_wrong_is_told(monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(settings.InvalidSettings) as caught:
        settings.read()
    assert words in str(caught.value)


def test_the_token_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("nobody guesses this\n")
    monkeypatch.setenv("SLIPWAY_ALERT_TOKEN_FILE", str(file))
    assert settings.read().token == "nobody guesses this"
    for content, words in (("", "must hold one line"), ("two\nlines", "must hold one line")):
        file.write_text(content)
        with pytest.raises(settings.InvalidSettings, match=words):
            _ = settings.read().token
    file.unlink()
    with pytest.raises(settings.InvalidSettings, match=r"SLIPWAY_ALERT_TOKEN_FILE: .* cannot be read: No such file"):
        _ = settings.read().token
    monkeypatch.setenv("SLIPWAY_ALERT_TOKEN", "another")
    with pytest.raises(settings.InvalidSettings, match="both set"):
        settings.read()


def test_the_replicas_address_needs_no_look_up_if_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.read().replica_address == "127.0.0.1"
    monkeypatch.setenv("SLIPWAY_REPLICA_HOST", "10.1.2.3")
    assert settings.read().replica_address == "10.1.2.3"


def test_everything_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_STATEDIR", "x")
    monkeypatch.setenv("SLIPWAY_TICK_S", "x")
    with pytest.raises(settings.InvalidSettings) as caught:
        settings.read()
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    "name",
    [
        *("SLIPWAY_API", "SLIPWAY_ACTOR", "SLIPWAY_MLFLOW_PORT", "SLIPWAY_ENVOY_ADMIN_PORT", "SLIPWAY_REPLICA"),
        *("SLIPWAY_MODEL_DIR", "SLIPWAY_MODEL_URI", "SLIPWAY_MODEL_NAME", "SLIPWAY_MODEL_VERSION", "SLIPWAY_DEADLINE_S"),
    ],
)
def test_variables_of_our_other_programs_are_left_alone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    settings.read()


def test_settings_never_change() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        settings.read().api_port = 1
