"""Evidence about a challenger that has all the traffic: its own failures against fixed rates taken from the champion's past.

`worse` refutes "p1 <= ceiling", `within` refutes "p1 >= margin". Both rates are frozen when the first such request is judged: an upper
confidence bound of what the champion is allowed, a lower one of what is too bad. Half of alpha and of beta pays for these
bounds, the other half for the bets. Called by `fold`. Valid only as long as the outside stays as it was; it cannot know.

Where errors come in bursts, only `worse` is asked, in blocks of time: the mean rate of blocks against what it was at most in the past.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import log, log1p, sqrt

import numpy as np
from scipy.special import betainccinv, betaincinv

from . import blocking, blocks, error_rate, forecast, wealth
from .maths import FLOATS
from .policy import ErrorRateGuard, Mode, Policy
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
    worse / within: natural logarithms of the evidence now. peak: the largest `worse` so far. waiting / since_s: of a block that has not ended."""

    arm: Arm = field(default_factory=Arm)
    ceiling: float | None = None
    margin: float | None = None
    row: Row = ()
    worse: float = 0.0
    within: float = 0.0
    peak: float = 0.0
    waiting: Arm = field(default_factory=Arm)
    since_s: float = 0.0


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
    margin = max(lower * guard.margin_ratio, lower + guard.margin_pct / 100.0)
    return _tolerated(guard, upper), min(margin, 1.0)


def _tolerated(guard: ErrorRateGuard, rate: float) -> float:
    return min(max(rate * guard.tolerance_ratio, rate + guard.tolerance_pct / 100.0), 1.0)


def after(alone: Alone, policy: Policy, baseline: Arm, arm: Arm, now_s: float) -> Alone:
    """Some challenger requests without a champion beside them later."""
    arm = Arm(arm.requests, arm.errors)
    if policy.error_rate.mode is Mode.BLOCK:
        return _after_in_blocks(alone, policy, baseline, arm, now_s)
    ceiling, margin = (alone.ceiling, alone.margin)
    if ceiling is None or margin is None:
        ceiling, margin = limits(policy, baseline)
    middle, row = len(WORSE), alone.row or _OPENED
    released, cash, age = wealth.release(FLOATS, row[middle], row[-1], float(arm.requests))
    worse = wealth.spread(FLOATS, row[:middle], released, error_rate.BETS.log_weights)
    worse = wealth.won(worse, _log_factors(WORSE, ceiling, arm))
    within = wealth.won(row[middle + 1 : -1], _log_factors(WITHIN, margin, arm))
    now = FLOATS.log_sum([*worse, cash])
    row = (*worse, cash, *within, age)
    return Alone(alone.arm + arm, ceiling, margin, row, now, FLOATS.log_sum(within), max(alone.peak, now))


def _after_in_blocks(alone: Alone, policy: Policy, baseline: Arm, arm: Arm, now_s: float) -> Alone:
    """The requests wait until their block is old enough; then it makes one bet."""
    since_s = alone.since_s if alone.waiting.requests else now_s
    alone = replace(alone, arm=alone.arm + arm, waiting=alone.waiting + arm, since_s=since_s)
    if now_s - since_s < policy.error_rate.block_s:
        return alone
    requests, errors = alone.waiting.requests, alone.waiting.errors
    ceiling = alone.ceiling if alone.ceiling is not None else ceiling_of_blocks(policy, baseline, requests)
    known = blocks.RECORD.of(FLOATS, alone.row or blocks.FRESH)
    blocks.against(known, float(requests), errors / requests, ceiling)
    peak = max(alone.peak, known.decision)
    return replace(alone, ceiling=ceiling, row=known.numbers(), worse=known.decision, peak=peak, waiting=Arm())


def ceiling_of_blocks(policy: Policy, baseline: Arm, block_requests: int) -> float:
    """As the first of `limits`, if the champion's past was blocks of so many requests, whose rates reach from none to the worst incident: what
    Bernstein's inequality leaves possible, a variance being at most the mean times the worst."""
    if not baseline.requests:
        return 1.0
    (margin,) = blocking.margins(policy.error_rate)
    rate, step = baseline.errors / baseline.requests, margin.most * log(2.0 / policy.alpha) * block_requests / baseline.requests
    return _tolerated(policy.error_rate, rate + step + sqrt(step * (step + 2.0 * rate)))


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
    if alone.margin is None or not alone.arm.requests:  # in blocks there is none
        return None
    growth = np.array(_log_factors(WITHIN, alone.margin, alone.arm)) / alone.arm.requests
    within = np.array(alone.row[len(WORSE) + 1 : -1])
    return forecast.first((within,), (growth,), lambda only: only[0], needed(policy)[1])
