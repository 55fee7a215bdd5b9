"""Evidence that the challenger is within the margin.

"Too bad to promote" means ratio >= margin_ratio and excess >= margin_pct points. Both e-processes, `relative` and `absolute`, are valid
under that intersection, so their average is too, and a version passes by whichever it can show sooner.

There is no latch: a pass lasts as long as the evidence does. Ville's inequality would allow one, since it covers all looks at once,
but what arrives after a pass is heard as well. Called by `fold` and `forecast`. Must never see a window twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import numpy as np

from . import bet, wealth
from .policy import ErrorRateGuard
from .samples import Window

RELATIVE_WEIGHTS = (0.60, 0.15, 0.15, 0.10)
# How many times rarer failures are than on a champion with the margin added: close to 0 for a healthy service, 0.9 for a poor one.
ABSOLUTE_ALTERNATIVES = np.array([0.9, 0.7, 0.45, 0.25, 0.1])
ABSOLUTE_WEIGHTS = (0.2, 0.2, 0.2, 0.2, 0.2)


@dataclass(frozen=True, slots=True)
class Promotion:
    relative: wealth.Wealth = field(default_factory=lambda: wealth.opened(RELATIVE_WEIGHTS, restarts=False))
    absolute: wealth.Wealth = field(default_factory=lambda: wealth.opened(ABSOLUTE_WEIGHTS, restarts=False))

    @property
    def log(self) -> float:
        """Natural logarithm of the evidence now: of the average of both processes."""
        return float(np.logaddexp(self.relative.log, self.absolute.log)) - log(2.0)


def bets(guard: ErrorRateGuard, share: float) -> tuple[bet.Bet, bet.Bet]:
    """The relative and the absolute bet at this share."""
    margin = guard.margin_ratio
    supposed = np.array([1.0, (1.0 + margin) / 2.0, 0.7, 0.4])  # true ratios; most likely the versions are equal
    return (
        bet.on_ratio(supposed / margin, margin, share),
        bet.on_excess(ABSOLUTE_ALTERNATIVES, guard.margin_pct / 100.0, share),
    )


def after(promotion: Promotion, guard: ErrorRateGuard, window: Window) -> Promotion:
    """One window with traffic on both arms later."""
    requests = window.challenger.requests
    relative, absolute = bets(guard, requests / (requests + window.champion.requests))
    return Promotion(
        wealth.after(promotion.relative, relative.log_factors(window), RELATIVE_WEIGHTS, requests),
        wealth.after(promotion.absolute, absolute.log_factors(window), ABSOLUTE_WEIGHTS, requests),
    )
