"""What all tests share. Fixtures are in the modules named here, by subject; a folder's own are in its conftest.py."""

from __future__ import annotations

import os

import hypothesis
import pytest

pytest_plugins = ["tests.waiting", "tests.programs", "tests.mlflow_server", "tests.system"]
pytest.register_assert_rewrite(*pytest_plugins)  # before the first of them imports another

# No test measures time. The gate tries the same examples every time; at a desk each run tries new ones.
hypothesis.settings.register_profile("slipway", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("slipway")
