"""Where replicas log, and how much of it: what they are told is what they read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bentos.mlflow_model.scoring import prediction_log
from cli.stack import children, config
from controlplane import settings

Told = Callable[..., prediction_log.Settings | None]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """What replicas make of the settings that the control plane was given."""

    def make(**given: object) -> prediction_log.Settings | None:
        for name, value in given.items():
            monkeypatch.setenv(f"SLIPWAY_{name}", str(value))
        return prediction_log.settings(settings.read().replica_environment)

    return make


def test_nothing_is_logged_unless_somebody_says_where(told: Told) -> None:
    assert told() is None
    assert told(PREDICTION_LOG="") is None


def test_replicas_understand_what_they_are_told(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert told(PREDICTION_LOG="log") == prediction_log.Settings(str(tmp_path / "log")), "the defaults of both are the same"
    assert told(
        PREDICTION_LOG="s3://bucket/log",
        PREDICTION_LOG_SHARE_PCT=2.5,
        PREDICTION_LOG_EVERY_S=60,
        PREDICTION_LOG_KEEP_DAYS=1,
        PREDICTION_LOG_MAX_MB=10,
    ) == prediction_log.Settings("s3://bucket/log", 2.5, 60.0, 1.0, 10.0)


def test_the_local_stack_logs_everything_unless_told_otherwise(tmp_path: Path) -> None:
    def environment(**chosen: str) -> dict[str, str]:
        built = children.build(config.Config(tmp_path / "state", environment=chosen))
        (controlplane,) = [child for child in built if child.name == children.CONTROLPLANE]
        return dict(controlplane.env)

    usual = environment()
    assert usual["SLIPWAY_PREDICTION_LOG"] == str(tmp_path / "state" / "predictions")
    assert usual["SLIPWAY_PREDICTION_LOG_SHARE_PCT"] == "100"
    assert environment(SLIPWAY_PREDICTION_LOG="")["SLIPWAY_PREDICTION_LOG"] == ""
    assert environment(SLIPWAY_PREDICTION_LOG_SHARE_PCT="1")["SLIPWAY_PREDICTION_LOG_SHARE_PCT"] == "1"
