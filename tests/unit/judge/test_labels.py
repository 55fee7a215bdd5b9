"""Guards that need the truth: labels that came in later, and pairs that both versions answered."""

from __future__ import annotations

import math

import numpy as np
import pytest

from judge import bet, boost, decide, disagreement, error_rate, evidence, quality
from judge.maths import FLOATS
from judge.policy import DisagreementGuard, ErrorRateGuard, Policy, QualityGuard
from judge.samples import Sample
from judge.verdict import Label

CAP = math.log(20.0)
PLAIN = QualityGuard(tolerance_ratio=1.0, tolerance_pct=0.0)


def labelled(p0: float, p1: float, rollouts: int = 300, windows: int = 200, guard: QualityGuard = PLAIN) -> np.ndarray:
    """Windows until decided (the last if never): 60 labels of each arm a window."""
    rng, known = np.random.default_rng(5), quality.fresh(rollouts)
    decided = np.full(rollouts, windows)
    for window in range(windows):
        n = np.full(rollouts, 60.0)
        x1, x0 = (rng.binomial(60, p, rollouts).astype(float) for p in (p1, p0))
        quality.update(known, guard, n, x1, n, x0, log_cap=CAP)
        decided = np.where((known.peak >= CAP) & (decided == windows), window, decided)
    return decided


@pytest.mark.parametrize("p", [0.1, 0.3])
def test_equal_versions_are_called_wrong_at_most_at_alpha(p: float) -> None:
    assert (labelled(p, p) < 200).mean() <= 0.05 + 2.0 * math.sqrt(0.05 * 0.95 / 300)


def test_more_wrong_answers_are_found_soon() -> None:
    found = labelled(0.3, 0.37)
    assert (found < 200).mean() >= 0.99
    js = 0.5 * _kl(0.37, 0.335) + 0.5 * _kl(0.3, 0.335)
    bound = math.log(20.0) / js / 120
    assert (found.mean() + 1.0) / bound <= 1.5


def _kl(p: float, q: float) -> float:
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def test_labels_of_an_epoch_that_is_over_are_judged_when_they_come() -> None:
    policy = Policy(latency=None, quality=PLAIN)
    state = evidence.fresh(1)
    beside = (Sample("g", 1, 2, 5000, 5), Sample("g", 1, 3, 5000, 5))
    later = (Sample("g", 2, 3, 100, 0), Sample("g", 2, 2, 100, 0))
    state, _ = decide.decide(policy, state, beside, champion=2, challenger=3)
    state, _ = decide.decide(policy, state, (*beside, *later), champion=2, challenger=3)
    told = (Sample("labels", 1, 2, 0, 0, labelled=2000, wrong=200), Sample("labels", 1, 3, 0, 0, labelled=2000, wrong=600))
    state, verdict = decide.decide(policy, state, (*beside, *later, *told), champion=2, challenger=3)
    assert verdict.label is Label.FAIL
    assert verdict.reason.startswith("Version 3 is wrong in 30.0 % (600 of 2 000) of the answers whose truth is known")


def test_losing_pairs_is_found_and_tossing_coins_is_not() -> None:
    guard, rollouts, rng = DisagreementGuard(), 400, np.random.default_rng(6)
    fair, bad = disagreement.fresh(rollouts), disagreement.fresh(rollouts)
    for _ in range(60):
        for known, part in ((fair, 1.1 / 2.1), (bad, 0.68)):
            lost = rng.binomial(20, part, rollouts).astype(float)
            disagreement.update(known, guard, lost, 20.0 - lost, log_cap=CAP)
    assert (fair.peak >= CAP).mean() <= 0.05 + 2.0 * math.sqrt(0.05 * 0.95 / rollouts)
    assert (bad.peak >= CAP).mean() >= 0.95
    assert (bad.promotion >= CAP).mean() <= 0.05


@pytest.mark.parametrize("ratio", [1.0, 1.1])
def test_removing_the_overshoot_leaves_the_mean_as_it_was(ratio: float) -> None:
    """E[min(b M, A)] over all that the window may bring is what the wealth was before: by enumeration of the law."""
    times = np.array(error_rate.BETS.worse)
    known = error_rate.RECORD.of(FLOATS, error_rate.FRESH)
    atoms, cash = [atom + 1.5 for atom in known.processes(error_rate.BETS)[0]], known.log_atoms[-1] + 1.5
    n1, n0, bad = 60.0, 240.0, 12
    share = n1 / (n1 + n0)
    window = bet.Window(n1, 5.0, n0, bad - 5.0, share)
    lifted = boost.log_boost(FLOATS, atoms, cash, error_rate.BETS.worse, ratio, window, math.log(60.0))
    assert lifted > 0.0
    law = np.exp(
        [
            float(boost._log_law(np.array([k]), np.array([[float(bad)]]), np.array([[n1]]), np.array([[n0]]), ratio)[0, 0])
            for k in range(bad + 1)
        ]
    )
    likelier = np.log((share * ratio * times + 1 - share) / (share * ratio + 1 - share))
    grown = [np.exp(np.array(atoms) + k * np.log(times) - bad * likelier).sum() + math.exp(cash) for k in range(bad + 1)]
    after = np.minimum(math.exp(lifted) * np.array(grown), 60.0)
    before = np.exp(atoms).sum() + math.exp(cash)
    assert law.sum() == pytest.approx(1.0)
    assert (law * after).sum() == pytest.approx(before, rel=1e-9)


def test_the_boost_is_for_deciding_and_not_for_showing() -> None:
    guard = ErrorRateGuard(1.0, 0.0, 2.0, 1.0)
    known = error_rate.RECORD.of(FLOATS, error_rate.FRESH)
    for _ in range(6):
        error_rate.update(known, guard, 100.0, 4.0, 900.0, 8.0, log_cap=math.log(100.0))
    assert known.decision > known.rollback
