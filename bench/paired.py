"""Two sides measured in turn, `off`, `on`, `on`, `off`, ...: what one is to the other. Used by benchmarks whose machine is not quiet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

OFF, ON = "off", "on"


def compared(blocks: Sequence[Any], quantity: str) -> dict[str, Any]:
    """`on` over `off`: the ratio with its 95 % interval (Student's, of the logarithms), over pairs of neighbours. A block has `arm` and the quantity."""
    logs = []
    for first, second in zip(blocks[::2], blocks[1::2], strict=True):
        both = {one.arm: getattr(one, quantity) for one in (first, second)}
        logs.append(math.log(both[ON] / both[OFF]))
    mean, half = float(np.mean(logs)), 0.0
    if len(logs) > 1:
        half = float(stats.t.ppf(0.975, len(logs) - 1) * np.std(logs, ddof=1) / math.sqrt(len(logs)))
    sides = {arm: float(np.median([getattr(one, quantity) for one in blocks if one.arm == arm])) for arm in (OFF, ON)}
    return {**sides, "ratio": math.exp(mean), "low": math.exp(mean - half), "high": math.exp(mean + half)}
