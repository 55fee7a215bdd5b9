"""Where spans go, by environment variables: what is taken, what is refused with the fix, and what replicas are told."""

from __future__ import annotations

import pytest

from controlplane import settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTLP_ENDPOINT", "OTLP_HEADERS", "TRACE_SAMPLING_PCT", "TRACE_CALLERS"):
        monkeypatch.delenv(f"SLIPWAY_{name}", raising=False)


def test_without_an_endpoint_nobody_traces() -> None:
    chosen = settings.read()
    assert (chosen.otlp_endpoint, chosen.otlp_pairs, chosen.replica_environment) == ("", {}, {})
    assert (chosen.trace_sampling_pct, chosen.trace_callers) == (1.0, True)


def test_replicas_are_told_where_and_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_OTLP_ENDPOINT", "http://collector:4318/")
    monkeypatch.setenv("SLIPWAY_OTLP_HEADERS", "x-mlflow-experiment-id=0")
    chosen = settings.read()
    assert chosen.otlp_pairs == {"x-mlflow-experiment-id": "0"}
    assert chosen.replica_environment == {
        "SLIPWAY_OTLP_ENDPOINT": "http://collector:4318",
        "SLIPWAY_OTLP_HEADERS": "x-mlflow-experiment-id=0",
    }


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("OTLP_ENDPOINT", "https://collector:4318", "http://host:port"),
        ("OTLP_ENDPOINT", "collector", "http://host:port"),
        ("OTLP_HEADERS", "secret", "name=value"),
        ("TRACE_SAMPLING_PCT", "101", "less than or equal to 100"),
        ("TRACE_SAMPLING_PCT", "-1", "greater than or equal to 0"),
        ("TRACE_CALLERS", "sometimes", "boolean"),
    ],
)
def test_what_cannot_be_is_refused_with_the_fix(name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"SLIPWAY_{name}", value)
    with pytest.raises(settings.InvalidSettings, match=f"SLIPWAY_{name}.*{words}"):
        settings.read()


def test_headers_are_no_secret_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_OTLP_HEADERS", "dd-api-key=abc123")
    assert "abc123" not in repr(settings.read())
