"""Nothing is wasted at the threshold, where the law of a window stands in no table: it is learned from exchangeable copies of it.

If the versions are equal, every assignment of a window's answers to the two arms is as likely as the one that was seen. So copies are dealt: as
many answers, drawn anew from all those of the window, are called the challenger's. Of the wealth M that the window and its copies
lead to, all equally likely given the set of them, the process may be multiplied by the b for which the mean of min(b M, A) is
what it had before; where none of them reaches the threshold A, by one. As in `boost` the result is a process for one threshold, and it is
exact however few the copies are: fewer only make b less certain. A challenger that is better than equal is on average below its copies.
Fischer and Ramdas, arXiv 2410.16076 (the multiplication); Besag and Clifford, Biometrika 78, 1991 (exact tests from exchangeable copies).
Called by `latency` and `prediction_shift`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .maths import Floats

COPIES = 400
DEEP = 3.0  # below A by more than this factor's logarithm, one window hardly reaches it
FEW_ANSWERS = 1000  # are dealt one by one, more by kind, which then is faster
MOST_ANSWERS = 1_000_000  # in one window; with more, the overshoot is small beside what a window tells


def log_boost(log_worth: Callable[[Floats], Floats], own: Floats, other: Floats, log_now: float, log_cap: float) -> float:
    """Logarithm of b.

    log_worth: logarithm of the wealth after the window, (R,), had these answers been the challenger's, (R, K). own, other: the
    challenger's answers and the champion's by kind, (K,). log_now: logarithm of the wealth before. log_cap: of A.
    """
    pooled = own + other
    if not log_cap - DEEP <= log_now < log_cap or not 0.0 < pooled.sum() <= MOST_ANSWERS:
        return 0.0
    kinds = np.flatnonzero(pooled)
    dealt = np.vstack([own, np.zeros((COPIES, len(own)))])
    dealt[1:, kinds] = _copies(pooled[kinds].astype(np.int64), int(own.sum()))
    worth = np.exp(np.minimum(log_worth(dealt) - log_cap, 300.0))  # in units of A
    return log(_factor(worth, exp(log_now - log_cap))) if worth.max() >= 1.0 else 0.0


def _copies(pooled: NDArray[np.int64], own: int) -> NDArray[np.int64]:
    """So many of the answers called the challenger's, anew each time, (COPIES, kinds). Chance depends on nothing but what both arms
    answered together: a replay deals the same copies, and nothing in them tells which assignment was seen."""
    dealer = np.random.default_rng([own, *pooled.tolist()])
    method: Literal["count", "marginals"] = "count" if pooled.sum() <= FEW_ANSWERS else "marginals"
    found: NDArray[np.int64] = dealer.multivariate_hypergeometric(pooled, own, size=COPIES, method=method)
    return found


def _factor(worth: Floats, before: float) -> float:
    """The b for which the mean of min(b worth, 1) is `before`, which lies between zero and one."""
    falling = np.sort(worth)[::-1]
    capped = np.arange(len(falling))
    rest = falling[::-1].cumsum()[::-1]  # of those that are not capped, if so many are
    factors = (before * len(falling) - capped) / np.maximum(rest, 1e-300)
    fits = (factors > 0.0) & (factors * falling <= 1.0)
    return float(factors[np.argmax(fits)])
