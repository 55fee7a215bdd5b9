"""Two gateways see other traffic at other shares: what is true at each may look otherwise in sum (Simpson). Each is judged by itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from judge import evidence, fold
from judge.policy import ErrorRateGuard, Policy
from judge.samples import Sample

ALPHA = 0.05
STRICT = Policy(alpha=ALPHA, latency=None, error_rate=ErrorRateGuard(1.0, 0.0, 2.0, 1.0))
ROLLOUTS, READINGS = 200, 40
# requests a reading, share, rate of errors of champion and challenger. In sum an equal challenger fails three times as often,
CALM, STORMY = (400, 0.05, 0.005, 0.005), (200, 0.40, 0.05, 0.05)
# and one that fails twice as often at each looks better.
WORSE = ((200, 0.05, 0.10, 0.20), (400, 0.40, 0.01, 0.02))

Gateway = tuple[int, float, float, float]


def failed(gateways: tuple[Gateway, Gateway], names: tuple[str, str], rollouts: int = ROLLOUTS) -> float:
    """Part of the rollouts that are rolled back, by the judge itself. names: the same twice is one gateway that knows no strata."""
    rng, found = np.random.default_rng(51), 0
    for _ in range(rollouts):
        state, total = evidence.fresh(0), np.zeros((2, 4), dtype=int)
        for _ in range(READINGS):
            for at, (requests, share, p0, p1) in enumerate(gateways):
                n = rng.poisson(requests)
                n1 = rng.binomial(n, share)
                total[at] += (n - n1, rng.binomial(n - n1, p0), n1, rng.binomial(n1, p1))
            samples = tuple(
                Sample(name, 1, version, int(row[2 * version - 2]), int(row[2 * version - 1]), replica=str(at))
                for at, (name, row) in enumerate(zip(names, total, strict=True))
                for version in (1, 2)
            )
            state = fold.fold(STRICT, state, samples, champion=1, challenger=2, now_s=0.0, by_itself=False)
            if state.failed:
                found += 1
                break
    return found / rollouts


def test_an_equal_version_is_not_rolled_back_for_the_share_of_a_stormy_gateway() -> None:
    most = ALPHA + 2.0 * math.sqrt(ALPHA * (1.0 - ALPHA) / ROLLOUTS)
    assert failed((CALM, STORMY), ("a", "b")) <= most
    assert failed((CALM, STORMY), ("a", "a"), rollouts=30) >= 0.9, "in sum it would be: that is why gateways are told apart"


@pytest.mark.parametrize(("names", "least", "most"), [(("a", "b"), 0.95, 1.0), (("a", "a"), 0.0, 0.05)])
def test_a_worse_version_does_not_hide_behind_the_share_of_a_calm_gateway(
    names: tuple[str, str], least: float, most: float
) -> None:
    assert least <= failed(WORSE, names, rollouts=40) <= most
