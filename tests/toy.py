"""A model for tests of the whole system: it doubles x. It needs neither scikit-learn nor MLflow, so that its servers start quickly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

MODEL = "toy"
ROW = {"dataframe_records": [{"x": 1.0}]}
BODIES = [json.dumps(ROW).encode()]  # what clients send in turn
FLAVORS = """flavors:
  python_function:
    loader_module: mlflow.sklearn
    model_path: model.pkl
  sklearn:
    pickled_model: model.pkl
    serialization_format: pickle
    code: code
"""
CODE = 'class Model:\n    def predict(self, data):\n        return data["x"] * 2\n'


def files(
    code: str = CODE, *, features: Sequence[str] = ("x",), row: Any = ROW, predictions: Sequence[float] = (2.0,)
) -> dict[str, bytes]:
    """A version as a registry keeps it: `code` has the class Model, which answers `row` with these `predictions`."""
    inputs = json.dumps([{"type": "double", "name": name, "required": True} for name in features])
    return {
        "MLmodel": f"{FLAVORS}signature:\n  inputs: '{inputs}'\n".encode(),
        "model.pkl": b"\x80\x02ctoy\nModel\n)R.",  # pickle for: toy.Model()
        "code/toy.py": code.encode(),
        "slipway/golden.json": json.dumps({"inputs": row, "predictions": predictions}).encode(),
    }
