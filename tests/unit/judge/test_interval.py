"""Confidence sequences: they hold the truth at all looks, and they end where nothing is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from judge import interval
from judge.samples import Arm, Window
from judge.verdict import Effect


def effect(n0: int, x0: int, n1: int, x1: int) -> Effect:
    return interval.effect(interval.after(interval.Likelihood(), Window(1, Arm(n0, x0), Arm(n1, x1))))


@pytest.mark.parametrize("ratio", [1.0, 1.5, 4.0])
def test_the_true_ratio_stays_inside_at_all_looks(ratio: float) -> None:
    rng, rollouts, missed = np.random.default_rng(41), 200, 0
    for _ in range(rollouts):
        likelihood, outside = interval.Likelihood(), False
        for share in (0.05, 0.2, 0.5):
            for _ in range(6):
                p0 = 0.005 * rng.choice([1.0, 1.0, 10.0])
                n1 = int(rng.binomial(5000, share))
                x1, x0 = int(rng.binomial(n1, ratio * p0)), int(rng.binomial(5000 - n1, p0))
                likelihood = interval.after(likelihood, Window(1, Arm(5000 - n1, x0), Arm(n1, x1)))
                now = interval.effect(likelihood)
                outside = outside or (now.low or 0.0) > ratio or (now.high or math.inf) < ratio
        missed += outside
    assert missed / rollouts <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / rollouts)
    assert now.low is not None
    assert now.high is not None
    assert now.high / now.low < 1.8


def test_open_ends() -> None:
    assert effect(1000, 0, 100, 0) == Effect(None, None, None)
    champion_only = effect(1000, 30, 100, 0)
    assert (champion_only.ratio, champion_only.low) == (0.0, 0.0)
    challenger_only = effect(1000, 0, 100, 3)
    assert (challenger_only.ratio, challenger_only.high) == (None, None)


@pytest.mark.parametrize("size", [10**3, 10**6, 10**9, 10**12])
def test_the_interval_narrows_around_the_ratio_at_any_size(size: int) -> None:
    found = effect(size, size // 50, size, size // 25)
    assert found.ratio == pytest.approx(2.0, rel=1e-4)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 2.0 < found.high
    assert math.log(found.high / found.low) < 75 / math.sqrt(size) + 1e-3


def test_the_nodes_hold_the_likelihood_between_them() -> None:
    windows = [Window(1, Arm(900, 12), Arm(100, 3)), Window(2, Arm(500, 2), Arm(500, 9)), Window(3, Arm(10, 4), Arm(990, 700))]
    likelihood = interval.Likelihood()
    for window in windows:
        likelihood = interval.after(likelihood, window)
    grid = np.linspace(-6.9, 6.9, 57)
    direct = sum(
        w.challenger.errors * grid
        - (w.challenger.errors + w.champion.errors)
        * np.log((w.challenger.requests * np.exp(grid) + w.champion.requests) / (w.challenger.requests + w.champion.requests))
        for w in windows
    )
    interpolated = interval._values(interval._coefficients(likelihood), grid)
    assert np.abs(interpolated - direct).max() < 1e-5


@pytest.mark.parametrize(("errors", "requests"), [(0, 0), (0, 100), (100, 100), (3, 1000), (10**10, 10**12)])
def test_a_rate_lies_in_its_interval(errors: int, requests: int) -> None:
    low, high = interval.rate(errors, requests, 0.05)
    assert 0.0 <= low <= (errors / requests if requests else 0.5) <= high <= 1.0
    if requests == 100:
        assert high - low < 0.06
