"""The evidence-driven ramp: never more traffic than the budget of bad answers allows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from judge import decide, evidence
from judge.policy import ErrorRateGuard, Policy
from judge.samples import Sample
from judge.verdict import Effect, Finding, Label, Verdict
from rollout import schedule
from rollout.model import Invalid, Ramp

RAMP = Ramp()


def seen(requests: int, errors: int, *, high: float | None = None, base: tuple[int, int] = (0, 0)) -> Verdict:
    effect = Effect(1.0, 0.5, high)
    finding = Finding("error_rate", Label.INSUFFICIENT, "", effect, 0, 2, 0, 1.3, 1.0, *base, requests, errors)
    return Verdict("test", Label.INSUFFICIENT, (finding,))


@pytest.mark.parametrize(
    ("requests_per_s", "weight_pct"), [(None, 1), (0.0, 5), (1.0, 5), (100.0, 5), (200.0, 2), (500.0, 1), (1e6, 1)]
)
def test_the_first_share_lets_a_dead_version_cost_the_budget_at_most(requests_per_s: float | None, weight_pct: int) -> None:
    assert schedule.first(RAMP, requests_per_s).weight_pct == weight_pct  # 20 bad answers in 4 s


def test_the_share_grows_with_requests_that_did_not_fail() -> None:
    shares = [schedule.following(RAMP, 5, 2000.0, seen(requests, 0)).weight_pct for requests in (0, 10, 100, 1000, 10_000)]
    assert shares == sorted(shares)
    assert shares[0] == 5, "nothing known: no more than before"
    assert shares[-1] == 15, "at most threefold"


def test_failures_keep_the_share_down() -> None:
    assert schedule.following(RAMP, 5, 2000.0, seen(1000, 300)).weight_pct == 5


def test_the_ratio_to_a_failing_champion_counts_when_it_is_the_better_bound() -> None:
    poor = seen(1000, 100, high=1.2, base=(10_000, 1000))  # 10 % fail on both sides: at worst 2 points more
    assert schedule.worst_excess(poor.findings[0]) == pytest.approx(0.02)
    assert schedule.worst_excess(seen(1000, 100).findings[0]) > 0.1


def test_it_stops_at_the_hold_share_and_small_rises_are_not_worth_it() -> None:
    ramp = replace(RAMP, hold_pct=50)
    assert schedule.following(ramp, 45, 1.0, seen(10_000, 0)).weight_pct == 50
    assert schedule.following(ramp, 50, 1.0, seen(10_000, 0)).weight_pct == 50
    tight = schedule.following(ramp, 20, 200.0, seen(10_000, 1100))  # 20 bad in 4 s at 11 % excess: 22 %
    assert tight.weight_pct == 20


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bad_requests": 0.0}, "bad_requests"),
        ({"hold_pct": 100}, "hold_pct"),
        ({"hold_pct": 0}, "hold_pct"),
        ({"bake_s": -1.0}, "bake_s"),
        ({"reaction_s": float("nan")}, "reaction_s"),
    ],
)
def test_nonsense_is_refused_by_name(changed: dict[str, float], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        Ramp(**changed)  # type: ignore[arg-type]


def ramped(error_rate: float, seed: int) -> tuple[str, float, int]:
    """A rollout at 200 requests/s, read every 2 s, the champion failing 0.5 %: how it ended, after how many minutes, and how many
    answers of the challenger were bad."""
    policy = Policy(alpha=0.05, beta=0.05, latency=None, error_rate=ErrorRateGuard(1.0, 0.0, 1.5, 0.1))
    rng, ramp = np.random.default_rng(seed), replace(RAMP, bake_s=0.0)
    state, verdict = evidence.fresh(seed), None
    weight, epoch, counts, bad = schedule.first(ramp, 200.0).weight_pct, 1, np.zeros(4, dtype=int), 0
    for look in range(1, 1200):
        n = rng.poisson(400)
        n1 = rng.binomial(n, weight / 100)
        counts += [n - n1, rng.binomial(n - n1, 0.005), n1, x1 := rng.binomial(n1, error_rate)]
        bad += x1
        n0, x0, m1, y1 = counts.tolist()
        samples = (Sample("g", epoch, 1, n0, x0), Sample("g", epoch, 2, m1, y1))
        state, verdict = decide.decide(policy, state, samples, champion=1, challenger=2)
        if verdict.label is Label.FAIL or (verdict.label is Label.PASS and weight >= ramp.hold_pct):
            return verdict.label, look * 2 / 60, bad
        share = schedule.following(ramp, weight, 200.0, verdict)
        if share.weight_pct != weight:
            weight, epoch, counts = share.weight_pct, epoch + 1, np.zeros(4, dtype=int)
    return "undecided", 40.0, bad


def test_a_healthy_version_is_through_in_minutes_and_a_dead_one_costs_ten_answers() -> None:
    healthy, dead = ([ramped(rate, seed) for seed in range(100, 140)] for rate in (0.005, 1.0))
    assert np.mean([label == "pass" for label, *_ in healthy]) >= 0.88
    assert np.mean([minutes for label, minutes, _ in healthy if label == "pass"]) <= 4.5
    assert {label for label, *_ in dead} == {"fail"}
    assert np.mean([bad for *_, bad in dead]) <= 12
