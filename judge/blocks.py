"""Evidence from blocks of time, for bad requests that come in bursts on single replicas: judge.md section 4, "block mode".

Y, the challenger's part of a block's bad requests, lies between 0 and 1 whatever the burst; if the version is tolerable its mean, given the past, is
at most m = w r / (w r + 1 - w) at share w and tolerated ratio r. Each block multiplies the wealth by 1 + f (Y - m) / m (Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting", JRSS B 2024). Called by `blocking`.
"""

from __future__ import annotations

from math import log

from . import wealth
from .maths import COLUMNS, Floats, Maths, N, Truth
from .records import Record, Row, columns

PARTS = (0.15, 0.35, 0.6, 0.85)  # of the wealth at stake
WEIGHTS = (0.3, 0.3, 0.25, 0.15)
SURPRISE = 2.2  # times the mean that is tolerated: about what doubles the largest stake

RECORD = Record
_LOG_WEIGHTS = tuple(log(weight) for weight in WEIGHTS)
FRESH: Row = (*[0.0] * 4, *(log(1.0 - wealth.CASH) + weight for weight in _LOG_WEIGHTS), log(wealth.CASH), 0.0)


def fresh(size: int) -> Record[Floats]:
    """Of a batch of rollouts about which nothing is known."""
    return RECORD.of(COLUMNS, columns(FRESH, size))


def update(known: Record[N], ratio: float, n1: N, x1: N, n0: N, x0: N) -> None:
    """One block: requests n and bad ones x of the challenger (1) and the champion (0).
    Blocks without bad requests, or with an empty arm, say nothing."""
    maths = known.maths
    told, part, mean = _parts(maths, ratio, n1, x1, n0, x0)
    released, cash, known.age = wealth.release(maths, known.log_atoms[-1], known.age, maths.where(told, n1, 0.0))
    gain = (part - mean) / mean
    atoms = wealth.spread(maths, known.log_atoms[:-1], released, _LOG_WEIGHTS)
    known.log_atoms = wealth.won(atoms, [maths.log1p(stake * gain) for stake in PARTS])
    known.log_atoms.append(cash)
    known.rollback = known.decision = maths.log_sum(known.log_atoms)
    known.peak = maths.maximum(known.peak, known.decision)


def surprising(maths: Maths[N], ratio: float, n1: N, x1: N, n0: N, x0: N) -> Truth:
    """Where so many of the bad requests are the challenger's that the rest of the same incident may lie in the next block: that one is not
    bet on, since what it shows is no news. A choice made before it begins, so the promise holds."""
    told, part, mean = _parts(maths, ratio, n1, x1, n0, x0)
    return told & (part > SURPRISE * mean)


def _parts(maths: Maths[N], ratio: float, n1: N, x1: N, n0: N, x0: N) -> tuple[Truth, N, N]:
    """Whether a block tells anything, the challenger's part of its bad requests, and the most that this is on average if it is tolerable."""
    told = (n1 > 0.0) & (n0 > 0.0) & (x1 + x0 > 0.0)
    weighted = n1 * ratio
    mean = maths.where(told, weighted / maths.maximum(weighted + n0, 1e-300), 0.5)
    part = maths.where(told, x1 / maths.maximum(x1 + x0, 1.0), mean)
    return told, part, mean
