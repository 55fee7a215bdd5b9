"""The batch of the statistical tests is the real judge, window by window, and each kernel says of one rollout what it says in a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from judge import bins, blocks, decide, disagreement, error_rate, evidence, guards, latency, quality, slowdowns
from judge.maths import COLUMNS, FLOATS
from judge.policy import DisagreementGuard, ErrorRateGuard, Policy, QualityGuard
from judge.records import Record
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


Tables = tuple[Any, ...]
CAP = 4.0


def _errors(known: Record[Any], table: Tables) -> None:
    error_rate.update(known, ErrorRateGuard(1.0, 0.0, 2.0, 1.0), *table, log_cap=CAP)  # type: ignore[arg-type]  # a record of this kernel


def _labels(known: Record[Any], table: Tables) -> None:
    quality.update(known, QualityGuard(), *table, log_cap=CAP)  # type: ignore[arg-type]  # as above


def _pairs(known: Record[Any], table: Tables) -> None:
    disagreement.update(known, DisagreementGuard(), table[1], table[3], log_cap=CAP)


def _blocks(known: Record[Any], table: Tables) -> None:
    blocks.update(known, 1.1, *table)


@pytest.mark.parametrize(
    ("kernel", "update"), [(error_rate, _errors), (quality, _labels), (disagreement, _pairs), (blocks, _blocks)]
)
def test_a_kernel_says_of_one_rollout_what_it_says_in_a_batch(
    kernel: Any, update: Callable[[Record[Any], Tables], None]
) -> None:
    rollouts, rng = 12, np.random.default_rng(31)
    batch = kernel.fresh(rollouts)
    single = [kernel.RECORD.of(FLOATS, kernel.FRESH) for _ in range(rollouts)]
    rates = np.geomspace(0.002, 0.4, rollouts)
    for _ in range(80):
        n = rng.poisson(60, rollouts)
        n1 = rng.binomial(n, rng.choice([0.0, 0.05, 0.3, 1.0], rollouts, p=[0.1, 0.4, 0.4, 0.1]))  # now and then an empty arm
        counts = (n1, rng.binomial(n1, np.minimum(2.0 * rates, 1.0)), n - n1, rng.binomial(n - n1, rates))
        columns = tuple(each.astype(float) for each in counts)
        update(batch, columns)
        for i, known in enumerate(single):
            update(known, tuple(float(each[i]) for each in columns))
    for i, known in enumerate(single):
        assert known.numbers() == pytest.approx([float(column[i]) for column in batch.numbers()], rel=1e-9, abs=1e-9)


def test_the_latency_kernel_says_of_one_rollout_what_it_says_in_a_batch() -> None:
    rollouts, rng = 5, np.random.default_rng(32)
    shape = np.bincount(bins.index_of(rng.lognormal(np.log(20_000.0), 0.5, 50_000)), minlength=bins.BINS) / 50_000.0
    past = tuple((int(at), int(n)) for at, n in enumerate(rng.multinomial(3_000, shape)) if n)
    alternatives = slowdowns.build(past, (), 50.0, 0.0, 0.0)
    batch, single = latency.fresh(rollouts), [latency.RECORD.of(FLOATS, latency.FRESH) for _ in range(rollouts)]
    for window in range(20):
        own, other = (rng.multinomial(n, shape, rollouts).astype(float) for n in (20 * (window % 5 > 0), 200))
        grouped = alternatives.grouped(own, challenger=True), alternatives.grouped(other, challenger=False)
        latency.update(batch, alternatives, *grouped, log_cap=5.0)
        for i, known in enumerate(single):
            latency.update(known, alternatives, *(each[i : i + 1] for each in grouped), log_cap=5.0)
    for i, known in enumerate(single):
        assert known.numbers() == pytest.approx([float(column[i]) for column in batch.numbers()], rel=1e-9, abs=1e-9)


def test_a_record_is_its_numbers() -> None:
    numbers = [np.array([each, 2.0 * each]) for each in error_rate.FRESH]
    assert error_rate.RECORD.of(COLUMNS, numbers).numbers() == tuple(numbers)
    assert error_rate.RECORD.of(FLOATS, error_rate.FRESH).numbers() == error_rate.FRESH
