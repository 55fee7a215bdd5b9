"""PURE. Golden rows: inputs with the predictions that a version gave when it was made, and the comparison with what a replica gives.

Called by the packager (is the file sound?) and by the probe. A replica that answers otherwise is not the model that was evaluated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

INPUTS = ("dataframe_split", "dataframe_records", "instances", "inputs")


class BadGolden(ValueError):
    """golden.json cannot be used; the message names the field and the fix."""


@dataclass(frozen=True, slots=True)
class Golden:
    inputs: Mapping[str, Any]  # a request body
    predictions: Any
    rtol: float = 1e-6
    atol: float = 1e-8


def parse(text: str | bytes) -> Golden:
    """Raises BadGolden."""
    try:
        # NaN is no JSON, but what Python writes: a missing number, which a server takes and gives as null
        data = json.loads(text, parse_constant=lambda _: None)
    except ValueError as error:
        raise BadGolden(f"golden.json is not JSON: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("inputs"), dict) or "predictions" not in data:
        raise BadGolden('golden.json must look like {"inputs": {"dataframe_split": ...}, "predictions": [...]}')
    if not any(name in data["inputs"] for name in INPUTS):
        raise BadGolden(f"golden.json: inputs must hold one of {', '.join(INPUTS)}")
    rtol, atol = data.get("rtol", 1e-6), data.get("atol", 1e-8)
    if not all(isinstance(value, int | float) and 0 <= value < math.inf for value in (rtol, atol)):
        raise BadGolden("golden.json: rtol and atol must be numbers of at least 0")
    return Golden(data["inputs"], data["predictions"], float(rtol), float(atol))


def difference(golden: Golden, got: Any) -> str | None:
    """None if `got` are the golden predictions, else a sentence with the row, what was expected and what came."""
    expected = golden.predictions
    if isinstance(expected, list) and isinstance(got, list):
        if len(expected) != len(got):
            return f"expected {len(expected)} golden predictions, got {len(got)}"
        for row, (wanted, came) in enumerate(zip(expected, got, strict=True)):
            if not _same(wanted, came, golden):
                return f"golden row {row}: expected {_short(wanted)}, got {_short(came)}"
        return None
    return None if _same(expected, got, golden) else f"golden rows: expected {_short(expected)}, got {_short(got)}"


def _same(wanted: Any, came: Any, golden: Golden) -> bool:
    if isinstance(wanted, bool) or isinstance(came, bool):
        return wanted is came
    if isinstance(wanted, int | float) and isinstance(came, int | float):
        return math.isclose(came, wanted, rel_tol=golden.rtol, abs_tol=golden.atol)
    if isinstance(wanted, list) and isinstance(came, list):
        return len(wanted) == len(came) and all(_same(w, c, golden) for w, c in zip(wanted, came, strict=True))
    if isinstance(wanted, dict) and isinstance(came, dict):
        return wanted.keys() == came.keys() and all(_same(value, came[key], golden) for key, value in wanted.items())
    return bool(wanted == came)


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 120 else text[:117] + "..."
