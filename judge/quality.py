"""Is the challenger wrong more often, where the truth is known? The kernel `counts` with bets on labels."""

from __future__ import annotations

from . import counts
from .counts import Floats
from .policy import QualityGuard
from .records import Records

# How many times worse than tolerated, and the part of the wealth that bets on it.
BETS = counts.Bets(
    worse=(1.1, 1.25, 1.5, 2.0, 3.0),
    worse_weights=(0.2, 0.3, 0.25, 0.15, 0.1),
    known_from=0.0,
)
RECORD = BETS.record()


def fresh(_guard: QualityGuard, size: int = 1) -> Records:
    return counts.fresh(BETS, size)


def update(records: Records, guard: QualityGuard, n1: Floats, x1: Floats, n0: Floats, x0: Floats, *, log_cap: float) -> None:
    """One window for each row: labelled requests n, wrong ones x, of the challenger (1) and the champion (0), shape (R,)."""
    counts.update(records, BETS, guard, n1, x1, n0, x0, log_cap=log_cap)
