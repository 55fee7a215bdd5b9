"""What people do beside slipway."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.system import System

Run = Callable[[str, str], None]


@pytest.fixture(scope="module")
def notebook(system: System) -> Run:
    """Runs the cells of somebody's notebook, which is told where MLflow is and the name of its model."""

    def run(cells: str, model: str) -> None:
        done = subprocess.run(
            [sys.executable, "-c", cells, system.mlflow, model],
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1", "GIT_PYTHON_REFRESH": "quiet"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    return run
