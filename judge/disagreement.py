"""Of the pairs that both versions answered and only one got wrong: does the challenger lose too many?

Which of the two is wrong is a coin toss between equal versions (McNemar), so a pair that only one got right is a request that bets on its
arm at a share of one half. Lost and won pairs in, judge.md section 7.
"""

from __future__ import annotations

from math import log

from . import bet, wealth
from .maths import COLUMNS, Floats, N
from .policy import DisagreementGuard
from .records import Record, Row, columns

TIMES = (1.15, 1.4, 2.0, 4.0)  # odds of losing a pair, times those tolerated
WEIGHTS = (0.3, 0.35, 0.25, 0.1)
SUPPOSED = (1.0, 0.8, 0.5)  # true odds, most likely even
SUPPOSED_WEIGHTS = (0.6, 0.25, 0.15)
HALF = 0.5

RECORD = Record
_LOG_WEIGHTS = tuple(log(weight) for weight in WEIGHTS)
FRESH: Row = (
    *[0.0] * 4,
    *(log(1.0 - wealth.CASH) + weight for weight in _LOG_WEIGHTS),
    *(log(weight) for weight in SUPPOSED_WEIGHTS),
    log(wealth.CASH),
    0.0,
)


def fresh(size: int) -> Record[Floats]:
    """Of a batch of rollouts about which nothing is known."""
    return RECORD.of(COLUMNS, columns(FRESH, size))


def update(known: Record[N], guard: DisagreementGuard, lost: N, won: N, *, log_cap: float) -> None:  # noqa: ARG001 - as all kernels
    """Pairs that only the challenger got wrong, and only the champion."""
    maths, middle = known.maths, len(TIMES)
    half = 0.0 * lost + HALF
    window = bet.Window(lost, lost, won, won, half)
    released, cash, known.age = wealth.release(maths, known.log_atoms[-1], known.age, lost + won)
    worse = wealth.spread(maths, known.log_atoms[:middle], released, _LOG_WEIGHTS)
    factors = bet.on_ratio(maths, TIMES, guard.tolerance_ratio, window)
    supposed = [each / guard.margin_ratio for each in SUPPOSED]
    factors += bet.on_ratio(maths, supposed, guard.margin_ratio, window)
    known.log_atoms = wealth.won(worse + known.log_atoms[middle:-1], factors)
    known.promotion = maths.log_sum(known.log_atoms[middle:])
    known.log_atoms.append(cash)
    known.rollback = known.decision = maths.log_sum(known.log_atoms[:middle] + known.log_atoms[-1:])
    known.peak = maths.maximum(known.peak, known.decision)
