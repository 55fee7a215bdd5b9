"""Of the pairs that both versions answered and only one got wrong: does the challenger lose too many?

Which of the two is wrong is a coin toss between equal versions (McNemar), so a pair that only one got right is a request that bets on its
arm at a share of one half. One row per rollout; lost and won pairs in, judge.md section 7.
"""

from __future__ import annotations

import numpy as np

from . import bet, wealth
from .bet import Floats
from .policy import DisagreementGuard
from .records import HEAD, Records

TIMES = np.array([1.15, 1.4, 2.0, 4.0])  # odds of losing a pair, times those tolerated
WEIGHTS = np.array([0.3, 0.35, 0.25, 0.1])
SUPPOSED = np.array([1.0, 0.8, 0.5])  # true odds, most likely even
SUPPOSED_WEIGHTS = np.array([0.6, 0.25, 0.15])
HALF = 0.5

RECORD = np.dtype([*HEAD, ("log_atoms", "f8", (len(TIMES) + 1 + len(SUPPOSED),)), ("age", "f8")])


def fresh(_guard: DisagreementGuard, size: int = 1) -> Records:
    found: Records = np.zeros(size, RECORD)
    found["log_atoms"] = np.log(np.concatenate([(1.0 - wealth.CASH) * WEIGHTS, [wealth.CASH], SUPPOSED_WEIGHTS]))
    return found


def update(known: Records, guard: DisagreementGuard, lost: Floats, won: Floats, *, log_cap: float) -> None:  # noqa: ARG001 - as all kernels
    """Pairs that only the challenger got wrong, and only the champion, for each row, shape (R,)."""
    worse, atoms = len(TIMES), known["log_atoms"]
    wealth.invest(atoms[:, :worse], atoms[:, worse], known["age"], lost + won, np.log(WEIGHTS))
    window = bet.Counts(lost[:, None], lost[:, None], won[:, None], won[:, None])
    atoms[:, :worse] += bet.on_ratio(TIMES, guard.tolerance_ratio, HALF).log_factors(window)
    atoms[:, worse + 1 :] += bet.on_ratio(SUPPOSED / guard.margin_ratio, guard.margin_ratio, HALF).log_factors(window)
    sums = wealth.log_sums(atoms, [0, worse + 1])
    known["rollback"] = known["decision"] = sums[:, 0]
    known["peak"] = np.maximum(known["peak"], sums[:, 0])
    known["promotion"] = sums[:, 1]
