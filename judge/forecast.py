"""How many challenger requests a decision takes: before a rollout from an error rate, and live from what is known so far.

Called by `rollout.preview` and by the deciding modules. A forecast is a mean: single rollouts take about
half to twice as long. Evidence is taken to grow at its expected rate; simulated means lie within 30 % of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, log

import numpy as np
from numpy.typing import NDArray

from . import promotion, rollback, wealth
from .policy import InvalidPolicy, Policy
from .promotion import Promotion
from .rollback import Rollback

Floats = NDArray[np.float64]

FAR = 10**12  # further than anyone will wait: what a forecast says when there is no way
_FAR_STEPS: Floats = np.geomspace(1.0, FAR, 49)
_FINE_STEPS: Floats = np.geomspace(1.0 / _FAR_STEPS[1], 1.0, 33)


def requests_to_pass(policy: Policy, error_rate: float, share_pct: float) -> int:
    """Challenger requests until a version as good as the champion is shown to be within the margin, on average."""
    share = _share(share_pct)
    _check(error_rate)
    found = to_pass(policy, Promotion(), error_rate, error_rate, share)
    return FAR if found is None else found


def requests_to_detect(policy: Policy, error_rate: float, ratio: float, share_pct: float) -> int:
    """Challenger requests until a version failing `ratio` times as often is rolled back, on average (FAR: tolerated)."""
    share = _share(share_pct)
    _check(error_rate)
    if not ratio > 0.0:
        raise InvalidPolicy("ratio must be above 0")
    relative, absolute = rollback.bets(policy.error_rate, share)
    rates = (error_rate, min(error_rate * ratio, 1.0), share)
    start = Rollback()
    growth = (relative.growth(*rates), absolute.growth(*rates))
    found = first((start.relative, start.absolute), growth, lambda both: np.minimum(*both), -log(policy.alpha))
    return FAR if found is None else found


def to_pass(policy: Policy, known: Promotion, champion_rate: float, challenger_rate: float, share: float) -> int | None:
    """Challenger requests still missing for a pass at these rates and this share (None: never)."""
    relative, absolute = promotion.bets(policy.error_rate, share)
    rates = (champion_rate, challenger_rate, share)
    growth = (relative.growth(*rates), absolute.growth(*rates))
    return first((known.relative, known.absolute), growth, lambda both: np.logaddexp(*both) - log(2.0), -log(policy.beta))


def first(
    known: Sequence[wealth.Wealth], growth: Sequence[Floats], combine: Callable[[list[Floats]], Floats], needed: float
) -> int | None:
    """How many steps of this growth until the combined evidence is enough (None: never)."""
    steps = _FAR_STEPS
    for _ in range(2):  # coarse first, then between the last step that does not suffice and the first that does
        courses = [_course(each, by, steps) for each, by in zip(known, growth, strict=True)]
        reached = np.flatnonzero(combine(courses) >= needed)
        if not reached.size:
            return None
        end = steps[reached[0]]
        steps = np.maximum(end * _FINE_STEPS, 1.0)
    return ceil(float(end))


def _course(known: wealth.Wealth, growth: Floats, steps: Floats) -> Floats:
    """Logarithm of the wealth after each of so many steps more."""
    atoms = np.asarray(known.log_atoms)[:, None] + growth[:, None] * steps
    top = atoms.max(axis=0)
    course: Floats = top + np.log(np.exp(atoms - top).sum(axis=0))
    return course


def _share(share_pct: float) -> float:
    if not 0.0 < share_pct < 100.0:
        raise InvalidPolicy(f"share_pct must be above 0 and below 100 (both versions need traffic), not {share_pct}")
    return share_pct / 100.0


def _check(error_rate: float) -> None:
    if not 0.0 <= error_rate <= 1.0:
        raise InvalidPolicy(f"error_rate must be between 0 and 1, not {error_rate}")
