"""How the local MLflow server is started: its arguments and environment. Pure; the launcher in cli/ and the tests run it.

One worker (the default is four of 300 MB each), loopback only, its telemetry and its background jobs off, artifacts served
by the server itself so that no client needs a shared disk. The host and origin checks of MLflow stay on: loopback clients
pass them. `mlflow server` is two processes: start it in a process group of its own and end the group.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # evaluation jobs nobody here uses: three more processes
    "MLFLOW_SERVER_JOB_ENABLE_PERIODIC_TASKS": "false",
    "GIT_PYTHON_REFRESH": "quiet",  # a machine without git gets no warning
}
FOREIGN = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_BACKEND_STORE_URI", "MLFLOW_ARTIFACTS_DESTINATION")


@dataclass(frozen=True, slots=True)
class Command:
    argv: tuple[str, ...]
    env: Mapping[str, str]
    uri: str

    @property
    def health(self) -> str:
        """Answers 200 once the server serves."""
        return f"{self.uri}/health"


def command(home: Path, port: int, *, environ: Mapping[str, str] | None = None) -> Command:
    """Everything below `home`, which must exist: mlflow.db and artifacts/. `environ` defaults to this process's own."""
    home = home.resolve()
    inherited = dict(os.environ if environ is None else environ)
    for name in FOREIGN:  # settings for another server must not redirect this one
        inherited.pop(name, None)
    argv = (
        *(sys.executable, "-m", "mlflow", "server"),
        *("--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}"),
        *("--artifacts-destination", str(home / "artifacts")),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
    )
    return Command(argv=argv, env={**inherited, **QUIET}, uri=f"http://127.0.0.1:{port}")
