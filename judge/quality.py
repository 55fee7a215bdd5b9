"""Is the challenger wrong more often, where the truth is known? The kernel `counts` with bets on labels."""

from __future__ import annotations

from . import counts
from .counts import Known
from .maths import COLUMNS, Floats, N
from .policy import QualityGuard
from .records import columns

# How many times worse than tolerated, and the part of the wealth that bets on it.
BETS = counts.Bets(
    worse=(1.1, 1.25, 1.5, 2.0, 3.0),
    worse_weights=(0.2, 0.3, 0.25, 0.15, 0.1),
    known_from=0.0,
)
RECORD, FRESH = counts.Known, BETS.fresh


def fresh(size: int) -> Known[Floats]:
    """Of a batch of rollouts about which nothing is known."""
    return RECORD.of(COLUMNS, columns(FRESH, size))


def update(known: Known[N], guard: QualityGuard, n1: N, x1: N, n0: N, x0: N, *, log_cap: float) -> None:
    """One window: labelled requests n, wrong ones x, of the challenger (1) and the champion (0)."""
    counts.update(known, BETS, guard, n1, x1, n0, x0, log_cap=log_cap)
