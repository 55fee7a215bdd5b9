"""Evidence that the challenger fails more often than tolerated. Called by `fold` with judged windows; knows no policy but its guard.

Two e-processes bet on the arm given the outcome. `relative` refutes "p1 <= tolerance_ratio * p0", `absolute` refutes
"p1 <= p0 + tolerance": a version is tolerated if either holds, so both have to be refuted and no correction is due.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from . import wealth

WEIGHTS = (0.25, 0.25, 0.20, 0.15, 0.10, 0.05)


def _opened() -> wealth.Wealth:
    return wealth.opened(WEIGHTS, restarts=True)


@dataclass(frozen=True, slots=True)
class Rollback:
    """peak: the largest logarithm of the evidence (the smaller of the two processes) so far."""

    relative: wealth.Wealth = field(default_factory=_opened)
    absolute: wealth.Wealth = field(default_factory=_opened)
    peak: float = 0.0
