"""How the local MLflow server is started: its arguments and environment. Pure; the launcher in cli/ and the tests run it.

One worker on loopback, telemetry and background jobs off, artifacts served by the server itself so that no client needs a
shared disk. MLflow's host and origin checks stay on: loopback clients pass them.

It runs MLflow's ASGI app under uvicorn, as `mlflow server` does, but without that command around it: the command is a second
process of 270 MB that imports MLflow once more and triples the time to start (measured on 2 busy cores: 30 s against 10 s),
and that leaves the server behind when it is killed. The price is four private variable names of the locked MLflow; the
contract tests start the server this way and look for the database where it belongs.
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
    "MLFLOW_CONFIGURE_LOGGING": "false",  # or it would write lines of its own beside those of LOGGING
}
LOGGING = Path(__file__).parent / "mlflow-logging.json"  # JSON lines, as everybody else here writes them
LOOPBACK = "127.0.0.1"
FOREIGN = ("MLFLOW_", "_MLFLOW_")  # settings for other servers and clients must not redirect this one


@dataclass(frozen=True, slots=True)
class Command:
    argv: tuple[str, ...]
    env: Mapping[str, str]
    uri: str

    @property
    def health(self) -> str:
        """Answers 200 once the server serves."""
        return f"{self.uri}/health"


def command(
    home: Path, port: int, *, host: str = LOOPBACK, name: str | None = None, environ: Mapping[str, str] | None = None
) -> Command:
    """Everything below `home`, which must exist: mlflow.db and artifacts/. `environ` defaults to this process's own. `host`: the IP address
    it listens on; `name`: the host name by which others call it, which MLflow refuses unless it is told. Loopback it always answers."""
    home = home.resolve()
    source = os.environ if environ is None else environ
    inherited = {name: value for name, value in source.items() if not name.startswith(FOREIGN)}
    database = f"sqlite:///{home / 'mlflow.db'}"
    settings = {
        "_MLFLOW_SERVER_FILE_STORE": database,
        "_MLFLOW_SERVER_REGISTRY_STORE": database,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(home / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
    }
    if name is not None:
        settings["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(f"{one}:*" for one in (name, LOOPBACK, "localhost"))
    argv = (
        *(sys.executable, "-m", "uvicorn", "mlflow.server.fastapi_app:app"),
        *("--host", host, "--port", str(port), "--workers", "1"),
        *("--log-config", str(LOGGING), "--log-level", "warning", "--no-access-log"),
    )
    return Command(argv=argv, env={**inherited, **QUIET, **settings}, uri=f"http://127.0.0.1:{port}")
