"""Evidence from blocks of time, for bad requests that come in bursts on single replicas: judge.md section 4, "block mode".

Held against the version: Y, the challenger's part of a block's bad requests, lies between 0 and 1 whatever the burst; if the version is tolerable its mean, given the past, is
at most m = w r / (w r + 1 - w) at share w and tolerated ratio r. Each block multiplies the wealth by 1 + f (Y - m) / m (Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting", JRSS B 2024).

Spoken for it, to promote: not how often bad requests come counts then but how many, so the bet is on the rates of the block themselves, which are bounded
as long as an incident makes no more than `most` of an arm's requests in a block fail. Called by `blocking`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

from . import wealth
from .maths import COLUMNS, FLOATS, Floats, Maths, N, Truth
from .records import Record, Row, columns

PARTS = (0.15, 0.35, 0.6, 0.85)  # of the wealth at stake
WEIGHTS = (0.3, 0.3, 0.25, 0.15)
WITHIN_PARTS = (0.3, 0.6, 0.95)
WITHIN_WEIGHTS = (0.2, 0.3, 0.5)
RUIN = 1e-6  # of the wealth is left after a block that is worse than any incident was thought to be
ENOUGH_BAD = 5.0  # a block is bet on for the version if an incident would make so many of an arm's requests bad
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
    told, part, mean = _parts(known.maths, ratio, n1, x1, n0, x0)
    against(known, known.maths.where(told, n1, 0.0), part, mean)


def against(known: Record[N], requests: N, part: N, mean: N) -> None:
    """One bet against "the mean of the part is at most this", in place; the part lies between 0 and 1."""
    maths = known.maths
    released, cash, known.age = wealth.release(maths, known.log_atoms[-1], known.age, requests)
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


@dataclass(frozen=True, slots=True)
class Margin:
    """Too bad to promote: in the mean over blocks at least `ratio` times the champion's rate of bad requests, and `points` (a part of one) more. most:
    the part of an arm's requests in a block that are bad at worst."""

    ratio: float
    points: float
    most: float


WITHIN: Row = (
    0.0,
    *(log(weight / 2.0) for weight in WITHIN_WEIGHTS * 2),
)  # the evidence, and the wealth by stake: by ratio, by points


def within(row: Row, margin: Margin, n1: float, x1: float, n0: float, x0: float) -> Row:
    """The evidence against "too bad" after a block. Whichever of the two it is, the mean of its gain is at most nothing under it; a
    champion that is worse than any incident counts as the worst incident."""
    if min(n1, n0) * margin.most < ENOUGH_BAD:
        return row
    atoms = wealth.won(row[1:], log_gains(margin, x1 / n1, min(x0 / n0, margin.most)))
    return (FLOATS.log_sum(atoms), *atoms)


def log_gains(margin: Margin, challenger: float, champion: float) -> list[float]:
    """What a block with these rates multiplies the wealth by, as logarithms, in the order of the atoms."""
    by_ratio = (margin.ratio * champion - challenger) / margin.most
    by_points = (margin.points + champion - challenger) / (margin.most - margin.points)
    return [log(max(1.0 + part * gain, RUIN)) for gain in (by_ratio, by_points) for part in WITHIN_PARTS]
