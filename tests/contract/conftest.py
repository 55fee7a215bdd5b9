"""Contract suites over a real MLflow, which outlives a test."""

import uuid

import pytest


@pytest.fixture
def name() -> str:
    """Of a model that no other test has."""
    return f"it's model-{uuid.uuid4().hex[:8]}"
