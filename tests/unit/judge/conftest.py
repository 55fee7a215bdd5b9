"""Many rollouts at once: the judge's own bets and weights, with the wealth of thousands of rollouts in one array.

`test_batch.py` holds this against the real judge, window by window; the statistical tests then use it for speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from judge import bet, promotion, rollback, wealth
from judge.policy import Policy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass
class Books:
    """`wealth.Wealth` for many rollouts."""

    weights: tuple[float, ...]
    restarts: bool
    rollouts: int
    atoms: Floats = field(init=False)
    cash: Floats = field(init=False)
    age: Floats = field(init=False)

    def __post_init__(self) -> None:
        start = wealth.opened(self.weights, restarts=self.restarts)
        self.atoms = np.tile(np.array(start.log_atoms), (self.rollouts, 1))
        self.cash = np.full(self.rollouts, -np.inf if start.log_cash is None else start.log_cash)
        self.age = np.zeros(self.rollouts)

    def add(self, bets: bet.Bet, x1: Ints, x0: Ints, n1: Ints, n0: Ints) -> Floats:
        factors = (
            x1[:, None] * bets.challenger_error + x0[:, None] * bets.champion_error + (n0 - x0)[:, None] * bets.champion_ok
        )
        if self.restarts:
            age = self.age + n1
            left = wealth.RESTART_POWER * (
                np.log1p(self.age / wealth.RESTART_REQUESTS) - np.log1p(age / wealth.RESTART_REQUESTS)
            )
            with np.errstate(divide="ignore"):
                spent = self.cash + np.log(-np.expm1(left))
            self.atoms = np.logaddexp(self.atoms, spent[:, None] + np.log(self.weights))
            self.cash, self.age = self.cash + left, age
        self.atoms = self.atoms + factors
        total = np.concatenate([self.atoms, self.cash[:, None]], axis=1)
        top = total.max(axis=1)
        value: Floats = top + np.log(np.exp(total - top[:, None]).sum(axis=1))
        return value


@dataclass
class Batch:
    """Evidence of many rollouts under one policy. `rolled_back` and `passed` hold the window of the first decision (-1: none)."""

    policy: Policy
    rollouts: int
    looks: int = 0
    challenger_requests: Floats = field(init=False)

    def __post_init__(self) -> None:
        many = self.rollouts
        self.worse = (Books(rollback.WEIGHTS, True, many), Books(rollback.WEIGHTS, True, many))
        self.within = (Books(promotion.RELATIVE_WEIGHTS, False, many), Books(promotion.ABSOLUTE_WEIGHTS, False, many))
        self.rolled_back = np.full(many, -1)
        self.passed = np.full(many, -1)
        self.challenger_requests = np.zeros(many)
        self.requests_at_decision = np.full(many, np.nan)
        self.peak = np.zeros(many)
        self.passing = np.zeros(many)

    def add(self, n1: Ints, x1: Ints, n0: Ints, x0: Ints) -> None:
        share = np.clip(n1 / np.maximum(n1 + n0, 1), 1e-9, 1 - 1e-9)[:, None]
        both = (n1 > 0) & (n0 > 0)
        n1, x1, n0, x0 = (np.where(both, counts, 0) for counts in (n1, x1, n0, x0))
        guard = self.policy.error_rate
        worse = [b.add(w, x1, x0, n1, n0) for b, w in zip(self.worse, rollback.bets(guard, share), strict=True)]
        within = [b.add(w, x1, x0, n1, n0) for b, w in zip(self.within, promotion.bets(guard, share), strict=True)]
        self.peak = np.maximum(self.peak, np.minimum(*worse))
        self.passing = np.logaddexp(*within) - np.log(2.0)
        self.challenger_requests += n1
        fails = (self.rolled_back < 0) & (self.peak >= -np.log(self.policy.alpha))
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
