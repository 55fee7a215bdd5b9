"""Does the challenger fail more often than tolerated, and is it within the margin? The kernel `counts` with bets on error rates."""

from __future__ import annotations

from . import counts
from .counts import Floats
from .policy import ErrorRateGuard
from .records import Records

# How many times worse than tolerated, and the part of the wealth that bets on it.
BETS = counts.Bets(
    worse=(1.5, 2.5, 5.0, 10.0, 30.0, 100.0),
    worse_weights=(0.25, 0.25, 0.20, 0.15, 0.10, 0.05),
)
RECORD = BETS.record()


def fresh(_guard: ErrorRateGuard, size: int = 1) -> Records:
    return counts.fresh(BETS, size)


def update(records: Records, guard: ErrorRateGuard, n1: Floats, x1: Floats, n0: Floats, x0: Floats, *, log_cap: float) -> None:
    """One window for each row: requests n and errors x of the challenger (1) and the champion (0), shape (R,)."""
    counts.update(records, BETS, guard, n1, x1, n0, x0, log_cap=log_cap)
