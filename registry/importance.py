"""How much a model's answers depend on each feature: asked without labels, of any model that can be called.

A column is shuffled among sampled rows, and the answers are compared with those before (Breiman's permutation importance, with the model's own
answers in the place of the truth). Called by `publish`. PURE but for the model's call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from . import profile

ROWS = 1000


def permuted(predict: Callable[[pd.DataFrame], Any], reference: pd.DataFrame, *, seed: int = 0) -> dict[str, float]:
    """By column: mean absolute change of a number, share of changed classes; not normalised. A column that the model cannot do
    without in its row (it raises) counts as much as the most important one."""
    chance = np.random.default_rng(seed)
    take = np.sort(chance.choice(len(reference), min(ROWS, len(reference)), replace=False))
    rows = reference.iloc[take].reset_index(drop=True)
    before = profile.predictions(predict(rows))[1]
    found: dict[str, float | None] = {}
    for name in reference.columns:
        shuffled = rows.assign(**{str(name): rows[name].to_numpy()[chance.permutation(len(rows))]})
        try:
            found[str(name)] = _change(before, profile.predictions(predict(shuffled))[1])
        except Exception:  # noqa: BLE001 - a model's code may raise anything on rows that never were
            found[str(name)] = None
    most = max((value for value in found.values() if value is not None), default=0.0)
    return {name: most if value is None else value for name, value in found.items()}


def _change(before: np.ndarray[Any, Any], after: np.ndarray[Any, Any]) -> float:
    if before.dtype.kind in "biuf" and after.dtype.kind in "biuf":
        with np.errstate(invalid="ignore"):
            change = np.abs(after.astype(np.float64) - before.astype(np.float64))
        return float(np.nanmean(change)) if np.isfinite(change).any() else 0.0
    return float(np.mean([str(new) != str(old) for new, old in zip(after, before, strict=True)]))
