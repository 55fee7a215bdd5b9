"""Evidence about a challenger that has all the traffic: its own failures against fixed rates taken from the champion's past.

`worse` refutes "p1 <= ceiling", `within` refutes "p1 >= margin". Both rates are frozen when the first such request is judged: an upper
confidence bound of what the champion is allowed, a lower one of what is too bad. Half of alpha and of beta pays for these
bounds, the other half for the bets. Called by `fold`. Valid only as long as the outside stays as it was; it cannot know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log, log1p

import numpy as np
from scipy.special import betainccinv, betaincinv

from . import error_rate, forecast, wealth
from .maths import FLOATS
from .policy import Policy
from .records import Row
from .samples import Arm

WORSE = error_rate.BETS.worse
# How many times better the odds are than at the margin, and the wealth on it.
WITHIN = (0.7, 0.4, 0.15)
WITHIN_WEIGHTS = (0.40, 0.35, 0.25)
KNOWN_REQUESTS = 100  # with fewer champion requests than this, its rate is bounded with 99 % at least

# worse, cash, within, age: logarithms of the wealth on the bets, and the requests that the cash has seen
_OPENED: Row = (
    *(log((1.0 - wealth.CASH) * weight) for weight in error_rate.BETS.worse_weights),
    log(wealth.CASH),
    *(log(weight) for weight in WITHIN_WEIGHTS),
    0.0,
)


@dataclass(frozen=True, slots=True)
class Alone:
    """arm: what was judged here. ceiling / margin: the rates compared with (None: nothing judged yet). row: the wealth on the bets.
    worse / within: natural logarithms of the evidence now. peak: the largest `worse` so far."""

    arm: Arm = field(default_factory=Arm)
    ceiling: float | None = None
    margin: float | None = None
    row: Row = _OPENED
    worse: float = 0.0
    within: float = 0.0
    peak: float = 0.0


def limits(policy: Policy, baseline: Arm) -> tuple[float, float]:
    """The rate tolerated at most and the rate that is too bad, from the champion's past (Clopper and Pearson's bounds).

    With little past the first nears 1 and the second the margin in points alone: then little is held against the challenger.
    """
    guard = policy.error_rate
    doubt = policy.alpha / 2.0 if baseline.requests >= KNOWN_REQUESTS else min(policy.alpha / 2.0, 0.01)
    errors, healthy = baseline.errors, baseline.requests - baseline.errors
    # Where the inverse gives up (alpha below 1e-290) nothing is claimed.
    upper = 1.0 if healthy == 0 else float(np.nan_to_num(betainccinv(errors + 1.0, healthy, doubt), nan=1.0))
    lower = 0.0 if errors == 0 else float(np.nan_to_num(betaincinv(errors, healthy + 1.0, policy.beta / 2.0), nan=0.0))
    ceiling = max(upper * guard.tolerance_ratio, upper + guard.tolerance_pct / 100.0)
    margin = max(lower * guard.margin_ratio, lower + guard.margin_pct / 100.0)
    return min(ceiling, 1.0), min(margin, 1.0)


def after(alone: Alone, policy: Policy, baseline: Arm, arm: Arm) -> Alone:
    """Some challenger requests without a champion beside them later."""
    ceiling, margin = (alone.ceiling, alone.margin)
    if ceiling is None or margin is None:
        ceiling, margin = limits(policy, baseline)
    middle = len(WORSE)
    released, cash, age = wealth.release(FLOATS, alone.row[middle], alone.row[-1], float(arm.requests))
    worse = wealth.spread(FLOATS, alone.row[:middle], released, error_rate.BETS.log_weights)
    worse = wealth.won(worse, _log_factors(WORSE, ceiling, arm))
    within = wealth.won(alone.row[middle + 1 : -1], _log_factors(WITHIN, margin, arm))
    now = FLOATS.log_sum([*worse, cash])
    judged = alone.arm + Arm(arm.requests, arm.errors)
    row = (*worse, cash, *within, age)
    return Alone(judged, ceiling, margin, row, now, FLOATS.log_sum(within), max(alone.peak, now))


def _log_factors(odds: Sequence[float], limit: float, arm: Arm) -> list[float]:
    """Likelihood ratio of rates with `odds` times the limit's odds against the limit. A limit of one says nothing."""
    if limit >= 1.0:
        return [0.0] * len(odds)
    sizes = [log1p(limit * (each - 1.0)) for each in odds]  # (1 - p') / (1 - p) = 1 / (1 + p (odds - 1))
    healthy = arm.requests - arm.errors
    return [arm.errors * (log(each) - size) - healthy * size for each, size in zip(odds, sizes, strict=True)]


def needed(policy: Policy) -> tuple[float, float]:
    """Natural logarithms of the evidence that rolls back, and that passes."""
    return log(2.0 / policy.alpha), log(2.0 / policy.beta)


def more(alone: Alone, policy: Policy) -> int | None:
    """Challenger requests to a pass at its rate so far (None: not on the way)."""
    if alone.margin is None or not alone.arm.requests:
        return None
    growth = np.array(_log_factors(WITHIN, alone.margin, alone.arm)) / alone.arm.requests
    within = np.array(alone.row[len(WORSE) + 1 : -1])
    return forecast.first((within,), (growth,), lambda only: only[0], needed(policy)[1])
