"""A real MLflow for tests, started once per test module that wants one. Other tests do not pay for it: the imports are late."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.waiting import poll

if TYPE_CHECKING:
    import httpx


@dataclass(frozen=True)
class MlflowServer:
    """A real MLflow on SQLite; `group` is its process group, `home` holds its database and artifacts."""

    uri: str
    group: int
    home: Path


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    import httpx  # noqa: PLC0415  see the module's docstring

    from cli.stack import ports  # noqa: PLC0415  see the module's docstring
    from registry import server  # noqa: PLC0415  see the module's docstring

    home = tmp_path_factory.mktemp("mlflow")
    command = server.command(home, ports.random_ports().mlflow)
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command.argv, env=command.env, stdout=log, stderr=log, cwd=home, start_new_session=True)

    def ready() -> bool:
        assert process.poll() is None, (home / "log").read_text()[-2000:]
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(command.health, timeout=2, trust_env=False).status_code == 200
        return False

    try:
        poll(ready, 90)
        yield MlflowServer(command.uri, process.pid, home)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def register(
    http: httpx.Client,
    uri: str,
    model: str,
    files: Mapping[str, bytes],
    *,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
) -> int:
    """As any client of MLflow may, by REST and past slipway: a run, its artifacts, a version of them."""
    api = f"{uri}/api/2.0"
    http.post(f"{api}/mlflow/registered-models/create", json={"name": model})
    made = http.post(f"{api}/mlflow/runs/create", json={"experiment_id": "0", "start_time": 1}).raise_for_status()
    run = made.json()["run"]["info"]
    for key, value in (metrics or {}).items():
        metric = {"run_id": run["run_id"], "key": key, "value": value, "timestamp": 1}
        http.post(f"{api}/mlflow/runs/log-metric", json=metric).raise_for_status()
    source = run["artifact_uri"] + "/model"
    for path, content in files.items():
        target = f"{api}/mlflow-artifacts/artifacts/{source.removeprefix('mlflow-artifacts:/')}/{path}"
        http.put(target, content=content).raise_for_status()
    body = {
        "name": model,
        "source": source,
        "run_id": run["run_id"],
        "tags": [{"key": key, "value": value} for key, value in (tags or {}).items()],
    }
    answer = http.post(f"{api}/mlflow/model-versions/create", json=body).raise_for_status()
    return int(answer.json()["model_version"]["version"])
