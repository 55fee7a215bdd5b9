"""Evidence about a challenger that has all the traffic: its own failures against fixed rates taken from the champion's past.

`worse` refutes "p1 <= ceiling", `within` refutes "p1 >= margin". Both rates are frozen when the first such request is judged: an upper
confidence bound of what the champion is allowed, a lower one of what is too bad. Half of alpha and of beta pays for these
bounds, the other half for the bets. Called by `fold`. Valid only as long as the outside stays as it was; it cannot know.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainccinv, betaincinv

from . import error_rate, forecast, records, wealth
from .policy import Policy
from .records import Row
from .samples import Arm

Floats = NDArray[np.float64]

WORSE = np.array(error_rate.BETS.worse)
WORSE_WEIGHTS = np.array(error_rate.BETS.worse_weights)
# How many times better the odds are than at the margin, and the wealth on it.
WITHIN = np.array([0.7, 0.4, 0.15])
WITHIN_WEIGHTS = np.array([0.40, 0.35, 0.25])
KNOWN_REQUESTS = 100  # with fewer champion requests than this, its rate is bounded with 99 % at least

_RECORD = np.dtype([("worse", "f8", (len(WORSE),)), ("cash", "f8"), ("within", "f8", (len(WITHIN),)), ("age", "f8")])


def _opened() -> Row:
    found = np.zeros(1, _RECORD)
    found["worse"], found["cash"] = np.log((1.0 - wealth.CASH) * WORSE_WEIGHTS), log(wealth.CASH)
    found["within"] = np.log(WITHIN_WEIGHTS)
    return records.pack(found)[0]


@dataclass(frozen=True, slots=True)
class Alone:
    """arm: what was judged here. ceiling / margin: the rates compared with (None: nothing judged yet). row: the wealth on the bets.
    worse / within: natural logarithms of the evidence now. peak: the largest `worse` so far."""

    arm: Arm = field(default_factory=Arm)
    ceiling: float | None = None
    margin: float | None = None
    row: Row = field(default_factory=_opened)
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
    known = records.unpack([alone.row], _RECORD)
    wealth.invest(known["worse"], known["cash"], known["age"], np.array([float(arm.requests)]), np.log(WORSE_WEIGHTS))
    known["worse"] += _log_factors(WORSE, ceiling, arm)
    known["within"] += _log_factors(WITHIN, margin, arm)
    worse = float(np.logaddexp(wealth.log_sums(known["worse"], [0])[0, 0], known["cash"][0]))
    within = float(wealth.log_sums(known["within"], [0])[0, 0])
    judged = alone.arm + Arm(arm.requests, arm.errors)
    return Alone(judged, ceiling, margin, records.pack(known)[0], worse, within, max(alone.peak, worse))


def _log_factors(odds: Floats, limit: float, arm: Arm) -> Floats:
    """Likelihood ratio of rates with `odds` times the limit's odds against the limit. A limit of one says nothing."""
    if limit >= 1.0:
        return np.zeros_like(odds)
    sizes = np.log1p(limit * (odds - 1.0))  # (1 - p') / (1 - p) = 1 / (1 + p (odds - 1))
    factors: Floats = arm.errors * (np.log(odds) - sizes) - (arm.requests - arm.errors) * sizes
    return factors


def needed(policy: Policy) -> tuple[float, float]:
    """Natural logarithms of the evidence that rolls back, and that passes."""
    return log(2.0 / policy.alpha), log(2.0 / policy.beta)


def more(alone: Alone, policy: Policy) -> int | None:
    """Challenger requests to a pass at its rate so far (None: not on the way)."""
    if alone.margin is None or not alone.arm.requests:
        return None
    growth = _log_factors(WITHIN, alone.margin, alone.arm) / alone.arm.requests
    within = records.unpack([alone.row], _RECORD)["within"][0]
    return forecast.first((within,), (growth,), lambda only: only[0], needed(policy)[1])
