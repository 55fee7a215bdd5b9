"""A bento imports nothing of the other rooms, so some files are there twice; they must stay the same."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["otlp.py", "jsonlines.py", "prediction_files.py"])
def test_the_bentos_copy_is_the_same(name: str) -> None:
    ours, bentos = ROOT / "monitoring" / name, ROOT / "bentos" / "mlflow_model" / "scoring" / name
    assert ours.read_text(encoding="utf-8") == bentos.read_text(encoding="utf-8"), f"copy {ours} over {bentos}"
