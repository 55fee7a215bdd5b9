"""The model of `latency_server` behind BentoML, for `measure_latency.py`."""

from __future__ import annotations

import json
import time

import bentoml
from latency_server import answer  # type: ignore[import-not-found]  # found beside it, where BentoML runs it


@bentoml.service(workers=1)
class Model:
    """POST /predict with {"rows": [[...]]}."""

    @bentoml.api  # type: ignore[untyped-decorator]  # BentoML publishes no types
    def predict(self, rows: list[list[float]]) -> str:
        """The predictions."""
        content, slow = answer(json.dumps({"rows": rows}).encode())
        time.sleep(slow)
        text: str = content.decode()
        return text
