"""Does the challenger fail more often than tolerated, and is it within the margin? The kernel `counts` with bets on error rates."""

from __future__ import annotations

from . import counts
from .counts import Known
from .maths import COLUMNS, Floats, N
from .policy import ErrorRateGuard
from .records import columns

# How many times worse than tolerated, and the part of the wealth that bets on it.
BETS = counts.Bets(
    worse=(1.5, 2.5, 5.0, 10.0, 30.0, 100.0),
    worse_weights=(0.25, 0.25, 0.21, 0.17, 0.09, 0.03),
)
RECORD, FRESH = counts.Known, BETS.fresh


def fresh(size: int) -> Known[Floats]:
    """Of a batch of rollouts about which nothing is known."""
    return RECORD.of(COLUMNS, columns(FRESH, size))


def update(known: Known[N], guard: ErrorRateGuard, n1: N, x1: N, n0: N, x0: N, *, log_cap: float) -> None:
    """One window: requests n and errors x of the challenger (1) and the champion (0)."""
    counts.update(known, BETS, guard, n1, x1, n0, x0, log_cap=log_cap)
