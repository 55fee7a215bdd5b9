"""Many rollouts at once, by the judge's own kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from judge import error_rate
from judge.policy import Policy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass
class Batch:
    """Evidence of many rollouts under one policy. `rolled_back` and `passed` hold the window of the first decision (-1: none)."""

    policy: Policy
    rollouts: int
    looks: int = 0

    def __post_init__(self) -> None:
        many = self.rollouts
        self.known = error_rate.fresh(many)
        self.rolled_back = np.full(many, -1)
        self.passed = np.full(many, -1)
        self.challenger_requests = np.zeros(many)
        self.requests_at_decision = np.full(many, np.nan)

    @property
    def peak(self) -> Floats:
        found: Floats = self.known.peak
        return found

    @property
    def passing(self) -> Floats:
        found: Floats = self.known.promotion
        return found

    def add(self, n1: Ints, x1: Ints, n0: Ints, x0: Ints) -> None:
        cap = -np.log(self.policy.alpha)
        counts = (each.astype(float) for each in (n1, x1, n0, x0))
        error_rate.update(self.known, self.policy.error_rate, *counts, log_cap=cap)
        self.challenger_requests += np.where(n0 > 0, n1, 0)
        fails = (self.rolled_back < 0) & (self.peak >= cap - 1e-9)
        passes = (self.passed < 0) & (self.passing >= -np.log(self.policy.beta))
        self.rolled_back[fails] = self.looks
        self.passed[passes] = self.looks
        first = np.isnan(self.requests_at_decision) & (fails | passes)
        self.requests_at_decision[first] = self.challenger_requests[first]
        self.looks += 1


Schedule = Iterable[tuple[float, float, float]]  # per window: share, champion's and challenger's error rate


@pytest.fixture
def run() -> Callable[..., Batch]:
    """Rollouts over a schedule of windows."""

    def _run(policy: Policy, schedule: Schedule, *, seed: int, rollouts: int, requests: int = 1000) -> Batch:
        rng = np.random.default_rng(seed)
        batch = Batch(policy, rollouts)
        for share, p0, p1 in schedule:
            n = rng.poisson(requests, rollouts)
            n1 = rng.binomial(n, share)
            batch.add(n1, rng.binomial(n1, p1), n - n1, rng.binomial(n - n1, p0))
        return batch

    return _run
