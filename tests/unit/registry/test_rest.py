"""What MLflow's answers mean, and what may be shown of its address."""

from __future__ import annotations

import pytest

from registry import artifacts, rest
from rollout import ports


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, ports.NotFound), (400, ports.Refused), (403, ports.Refused), (429, ports.Unavailable), (503, ports.Unavailable)],
)
def test_statuses(status: int, kind: type[Exception]) -> None:
    with pytest.raises(ports.PortError, match="as it said") as raised:
        rest.check(status, b'{"error_code": "X", "message": "as  it\\nsaid"}')
    assert type(raised.value) is kind


def test_plain_text_errors_are_quoted_and_cut() -> None:
    assert rest.said(b"Invalid Host header") == "Invalid Host header"
    assert len(rest.said(b"x" * 10_000)) == rest.MESSAGE_CHARS


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "mlruns", "http://", "databricks"])
def test_only_servers_are_spoken_to(uri: str) -> None:
    with pytest.raises(ports.Refused, match="tracking_uri must be"):
        rest.check_uri(uri)


def test_credentials_are_not_shown() -> None:
    assert rest.shown("https://user:secret@mlflow.example:5000/base") == "https://mlflow.example:5000"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("http://127.0.0.1:5000", True),
        ("http://[::1]:1", True),
        ("http://localhost:1", True),
        ("https://mlflow.example", False),
    ],
)
def test_loopback(uri: str, expected: bool) -> None:
    assert rest.loopback(uri) is expected


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("mlflow-artifacts:/1/models/m-1/artifacts", "1/models/m-1/artifacts"),
        ("mlflow-artifacts://other:5000/1", None),
        ("s3://b/1", None),
    ],
)
def test_which_artifacts_lie_behind_the_proxy(uri: str, path: str | None) -> None:
    assert artifacts.proxied(uri) == path
