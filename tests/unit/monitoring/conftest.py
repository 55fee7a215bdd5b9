"""promtool and Prometheus come from Debian (`.ci/run` installs them). At a desk without them these tests are skipped, in the gate they fail."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from monitoring import server


@pytest.fixture(scope="session")
def promtool() -> Path:
    found = server.program("promtool")
    if found is None:
        if "CI" in os.environ:
            pytest.fail(f"promtool is not installed: {server.INSTALL}")
        pytest.skip(f"promtool is not installed: {server.INSTALL}")
    return found
