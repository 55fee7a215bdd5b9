"""A real MLflow for tests, started once per test module that wants one. Other tests do not pay for it: the imports are late."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.waiting import poll


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
