"""The batch of the statistical tests is the real judge, window by window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from judge import decide, evidence, guards
from judge.policy import Policy
from judge.samples import Sample


def test_the_batch_of_the_statistical_tests_is_the_real_judge(run: Callable[..., Any]) -> None:
    policy, seed, schedule = Policy(latency=None), 5, [(0.05, 0.01, 0.01)] * 20 + [(0.3, 0.05, 0.08)] * 20
    batch = run(policy, schedule, seed=seed, rollouts=3)
    rng = np.random.default_rng(seed)
    totals = np.zeros((4, 3), dtype=int)
    states = [evidence.fresh(0)] * 3
    for share, p0, p1 in schedule:
        n = rng.poisson(1000, 3)
        n1 = rng.binomial(n, share)
        totals += np.array([n1, rng.binomial(n1, p1), n - n1, rng.binomial(n - n1, p0)])
        for i in range(3):
            n1_, x1, n0, x0 = (int(count) for count in totals[:, i])
            samples = (Sample("g", 1, 1, n0, x0), Sample("g", 1, 2, n1_, x1))
            states[i], _ = decide.decide(policy, states[i], samples, champion=1, challenger=2)
    for i, state in enumerate(states):
        head = guards.head(policy, state, "error_rate")
        assert head.peak == pytest.approx(batch.peak[i], rel=1e-9)
        assert head.promotion == pytest.approx(batch.passing[i], rel=1e-9)
