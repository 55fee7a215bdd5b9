"""What some tests need and pip does not bring. At a desk without it such a test is skipped, in the gate it fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from monitoring import server


def needed(*names: str, install: str = server.INSTALL) -> Path:
    """The first of these programs that is here."""
    return present(server.program(*names), names[0], install)


def present(found: Path | None, name: str, install: str) -> Path:
    if found is not None:
        return found
    message = f"{name} is not installed: {install}"
    return pytest.fail(message) if "CI" in os.environ else pytest.skip(message)


@pytest.fixture(scope="session")
def promtool() -> Path:
    return needed("promtool")
