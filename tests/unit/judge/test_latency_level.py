"""The latency guard uses all of alpha between equal versions and no more, and less of it on those that are faster or tolerated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from judge import bins, latency, slowdowns

Floats = NDArray[np.float64]
ALPHA = 0.05
ROLLOUTS, LOOKS = 600, 150
SHARES = (0.05, 0.2, 0.5)


def service(times: float) -> Floats:
    """Chances of the bins: 95 % around 50 ms, 5 % around 200 ms, so many times as slow."""
    rng = np.random.default_rng(1)
    median_us = np.where(rng.random(400_000) < 0.05, 200e3, 50e3)
    found: Floats = np.bincount(bins.index_of(rng.lognormal(np.log(times * median_us), 0.5)), minlength=bins.BINS) / 400_000
    return found


def rolled_back(times: float, tolerance_pct: float, seed: int) -> float:
    """Part of the rollouts of a challenger so many times as slow as the champion."""
    rng = np.random.default_rng(seed)
    past = rng.multinomial(15_000, service(1.0))
    groups = slowdowns.build(tuple((int(at), int(past[at])) for at in np.flatnonzero(past)), (), 50.0, tolerance_pct, 0.0)
    champion, challenger = groups.grouped(service(1.0), challenger=False), groups.grouped(service(times), challenger=True)
    known = latency.fresh(ROLLOUTS)
    for look in range(LOOKS):
        n = rng.poisson(200, ROLLOUTS)
        n1 = rng.binomial(n, SHARES[look * len(SHARES) // LOOKS])
        own, other = (rng.multinomial(k, p / p.sum()).astype(float) for k, p in ((n1, challenger), (n - n1, champion)))
        latency.update(known, groups, own, other, log_cap=-math.log(ALPHA))
    return float((known.peak >= -math.log(ALPHA) - 1e-9).mean())


@pytest.mark.parametrize(
    ("times", "tolerance_pct", "most", "least"),
    [(1.0, 0.0, ALPHA, 0.02), (0.97, 0.0, ALPHA / 2.0, 0.0), (1.1, 10.0, ALPHA, 0.0)],
)
def test_level(times: float, tolerance_pct: float, most: float, least: float) -> None:
    se = math.sqrt(ALPHA * (1.0 - ALPHA) / ROLLOUTS)
    assert least <= rolled_back(times, tolerance_pct, seed=3) <= most + 2.0 * se
