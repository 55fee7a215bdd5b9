"""Evidence that the challenger fails more often than tolerated.

Two e-processes bet on the arm, given the outcome. `relative` refutes "p1 <= tolerance_ratio * p0", `absolute` refutes
"p1 <= p0 + tolerance". A version is tolerated if either holds all along, so both have to be refuted, and as the null is a union
no correction is due: under either half of it, that half's process alone stays below 1/alpha with probability 1 - alpha.

Called by `fold` with the windows to be judged and by `forecast`. Must never see a window twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from . import bet, wealth
from .policy import ErrorRateGuard
from .samples import Window

# How many times worse than tolerated, and the part of the wealth that bets on it: judge.md section 3.
ALTERNATIVES = np.array([1.5, 2.5, 5.0, 10.0, 30.0, 100.0])
WEIGHTS = (0.25, 0.25, 0.20, 0.15, 0.10, 0.05)


def _opened() -> wealth.Wealth:
    return wealth.opened(WEIGHTS, restarts=True)


@dataclass(frozen=True, slots=True)
class Rollback:
    """peak: the largest logarithm of the evidence so far, which is what the error probability pays for."""

    relative: wealth.Wealth = field(default_factory=_opened)
    absolute: wealth.Wealth = field(default_factory=_opened)
    peak: float = 0.0

    @property
    def log(self) -> float:
        """Natural logarithm of the evidence now: of the weaker process."""
        return min(self.relative.log, self.absolute.log)


def bets(guard: ErrorRateGuard, share: float) -> tuple[bet.Bet, bet.Bet]:
    """The relative and the absolute bet at this share."""
    return (
        bet.on_ratio(ALTERNATIVES, guard.tolerance_ratio, share),
        bet.on_excess(ALTERNATIVES, guard.tolerance_pct / 100.0, share),
    )


def after(rollback: Rollback, guard: ErrorRateGuard, window: Window) -> Rollback:
    """One window with traffic on both arms later."""
    requests = window.challenger.requests
    relative, absolute = bets(guard, requests / (requests + window.champion.requests))
    grown = Rollback(
        wealth.after(rollback.relative, relative.log_factors(window), WEIGHTS, requests),
        wealth.after(rollback.absolute, absolute.log_factors(window), WEIGHTS, requests),
    )
    return Rollback(grown.relative, grown.absolute, max(rollback.peak, grown.log))
