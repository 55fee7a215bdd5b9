"""The two questions asked of an MLmodel file."""

from __future__ import annotations

import pytest

from registry import mlmodel

HEAD = "artifact_path: x\nflavors:\n  python_function:\n    env: {}\n  sklearn:\n    code: null\n"


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        ('signature:\n  inputs: \'[{"type": "double"}]\'\n  outputs: null\n  params: null\n', True),
        ("signature:\n  outputs: '[]'\n  inputs: '[]'\n", True),
        ("signature:\n  inputs: null\n  outputs: '[]'\n", False),
        ("signature: null\n", False),
        ("metadata:\n  inputs: 'x'\n", False),
        ("signature:\n  outputs: 'x'\nother:\n  inputs: 'x'\n", False),
        ("", False),
    ],
)
def test_signature(tail: str, expected: bool) -> None:
    assert mlmodel.has_signature(HEAD + tail) is expected
    assert mlmodel.defect(HEAD + tail) is None


def test_defects() -> None:
    assert "corrupt" in (mlmodel.defect("\x00\x01") or "")
    assert "python_function" in (mlmodel.defect("flavors:\n  sklearn:\n    x: y\n") or "")
