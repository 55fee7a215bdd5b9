"""`slipway notifications` and `slipway resend` against the real control plane, a receiver that says no, and then yes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.exits import Exit
from cli.stack import ports
from tests.receiver import Receiver

pytestmark = pytest.mark.timeout(180)

Eventually = Callable[..., Any]


class Team(Receiver):
    status = 404

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        if self.status < 300:
            self.texts.append(json.loads(body)["text"])
        return self.status, b""


@pytest.fixture
def receiver() -> Iterator[Team]:
    with Team().listening() as server:
        yield server


@pytest.fixture
def api(tmp_path: Path, receiver: Team, eventually: Eventually) -> Iterator[str]:
    """A control plane without MLflow and gateway; its address."""
    taken, file = ports.random_ports(), tmp_path / "notify.yaml"
    url = f"{receiver.url}/services/SECRET"
    file.write_text(json.dumps({"receivers": [{"name": "team", "url": url, "format": "slack"}]}))
    settings = {
        "SLIPWAY_STATE_DIR": str(tmp_path / "state"),
        "SLIPWAY_API_PORT": str(taken.api),
        "SLIPWAY_XDS_PORT": str(taken.xds),
        "SLIPWAY_INGRESS_PORT": str(taken.ingress),
        "SLIPWAY_MLFLOW_URI": f"http://127.0.0.1:{taken.mlflow}",
        "SLIPWAY_ALERT_TOKEN": "sesame",
        "SLIPWAY_NOTIFY_FILE": str(file),
    }
    (tmp_path / "state").mkdir()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "controlplane.main"], env={**os.environ, **settings}, stdout=log, stderr=log
        )
    address = f"http://127.0.0.1:{taken.api}"

    def ready() -> bool:
        assert process.poll() is None, (tmp_path / "log").read_text()
        try:
            return httpx.get(f"{address}/readyz", timeout=5, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    try:
        eventually(ready)
        yield address
    finally:
        process.terminate()
        process.wait(20)
    assert "SECRET" not in (tmp_path / "log").read_text()


def slipway(api: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", "from cli.main import app; app()", *arguments],
        env={**os.environ, "SLIPWAY_API": api, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_what_could_not_be_delivered_is_seen_and_sent_again(
    api: str, receiver: Team, tmp_path: Path, eventually: Eventually
) -> None:
    assert "0" in slipway(api, "notifications").stdout
    assert slipway(api, "resend", "all").returncode == Exit.NOT_FOUND
    _something_happens(tmp_path)

    def given_up() -> bool:
        shown = json.loads(slipway(api, "notifications", "-o", "json").stdout)
        return [one["sentence"] for one in shown["dead"]] == ["It was promoted."]

    eventually(given_up)
    shown = slipway(api, "notifications")
    assert "slack http://127.0.0.1" in shown.stdout
    assert "flight-delay: It was promoted." in shown.stdout
    assert "it answered 404 Not Found (attempt 1)" in shown.stdout
    assert "SECRET" not in shown.stdout
    receiver.status = 200
    assert slipway(api, "resend", "nobody").returncode == Exit.NOT_FOUND
    assert slipway(api, "resend", "99").returncode == Exit.NOT_FOUND
    sent = slipway(api, "resend", "team")
    assert (sent.returncode, sent.stdout) == (Exit.OK, "1 letter on the way again\n")
    eventually(lambda: receiver.texts == ["*flight-delay*: It was promoted."])
    assert "Dead letters" not in slipway(api, "notifications").stdout


def _something_happens(folder: Path) -> None:
    """As another writer of the same database would have it: nothing here can ship a model."""
    import sqlite3  # noqa: PLC0415

    row = ("r-1", "flight-delay", "2026-11-23T12:00:00+00:00", "ended", "slipway", "It was promoted.", "{}")
    with sqlite3.connect(folder / "state" / "slipway.db", timeout=10) as database:
        database.execute(
            "INSERT INTO events (rollout_id, model, at, kind, actor, sentence, data) VALUES (?, ?, ?, ?, ?, ?, ?)", row
        )
    database.close()
