"""Answers: equal versions stay below alpha, changes are found, and what is tolerated is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from judge import answers, decide, evidence, prediction_shift
from judge.policy import Action, Policy, PredictionShiftGuard
from judge.samples import Arm, Counts, Sample, Window
from judge.verdict import Label

CAP = math.log(20.0)
CLASSES = np.array([0.3, 0.2, 0.15, 0.1, 0.08, 0.06, 0.05, 0.03, 0.02, 0.01])
PLAIN = PredictionShiftGuard(tolerance_odds=1.0)


def moved(cls: int, part: float) -> NDArray[np.float64]:
    found: NDArray[np.float64] = CLASSES * (1.0 - part) / (1.0 - CLASSES[cls])
    found[cls] = part
    return found


def counts(drawn: NDArray[np.int64]) -> Counts:
    return tuple((index, int(count)) for index, count in enumerate(drawn) if count)


def after_s(
    parts: NDArray[np.float64], guard: PredictionShiftGuard, seed: int, seconds: int = 100, base: NDArray[np.float64] = CLASSES
) -> tuple[prediction_shift.Evidence, int]:
    """200 answers/s at a share of 20 %, read every 2 s; what is known, and when it was decided (or the end)."""
    rng, known = np.random.default_rng(seed), prediction_shift.Evidence()
    for second in range(2, seconds + 1, 2):
        arms = (Arm(answers=counts(rng.multinomial(320, base))), Arm(answers=counts(rng.multinomial(80, parts))))
        known = prediction_shift.after(known, guard, Window(1, *arms), log_cap=CAP)
        if known.peak >= CAP:
            return known, second
    return known, seconds


def test_equal_versions_alarm_at_most_at_alpha() -> None:
    fired = np.mean([after_s(CLASSES, PLAIN, seed)[0].peak >= CAP for seed in range(80)])
    assert fired <= 0.05 + 2.0 * math.sqrt(0.05 * 0.95 / 80)


@pytest.mark.parametrize(("cls", "part", "within_s"), [(0, 0.36, 60), (6, 0.09, 60), (9, 0.03, 60), (0, 0.2, 30)])
def test_a_changed_class_is_found(cls: int, part: float, within_s: int) -> None:
    found = [after_s(moved(cls, part), PLAIN, seed) for seed in range(6)]
    assert np.mean([second for _, second in found]) <= within_s
    effect, (measure,) = prediction_shift.report(found[0][0], PLAIN)
    assert measure.name in (f"share_class_{cls}", "share_other_classes")
    assert effect.ratio is not None


def test_the_tolerance_is_one_of_odds_both_ways() -> None:
    guard = PredictionShiftGuard(tolerance_odds=1.5)
    for odds in (1.5, 1.0 / 1.5):
        part = 0.3 * odds / (0.7 + 0.3 * odds)
        assert all(after_s(moved(0, part), guard, seed)[0].peak < CAP for seed in range(6))
    assert after_s(moved(0, 0.6), guard, 1)[0].peak >= CAP


def test_a_shifted_score_is_found_by_its_cuts_and_as_a_whole() -> None:
    rng = np.random.default_rng(7)
    edges = np.linspace(0, 1, 21)
    before, later = (np.histogram(rng.beta(a, 5, 400_000), edges)[0] / 400_000 for a in (2.0, 2.4))
    guard = PredictionShiftGuard(tolerance_odds=1.0, ordered=True)
    seconds = [after_s(later, guard, seed, base=before)[1] for seed in range(6)]
    assert np.mean(seconds) <= 40
    tolerant = PredictionShiftGuard(tolerance_odds=1.25, ordered=True)
    assert after_s(before, tolerant, 1, base=before)[0].peak < CAP


def test_alike_answers_pass_and_a_class_never_seen_before_is_no_error() -> None:
    known, _ = after_s(CLASSES, PredictionShiftGuard(), 3)
    assert known.promotion >= math.log(20.0)
    strange = Window(1, Arm(answers=((0, 10),)), Arm(answers=((0, 5), (77, 5))))
    assert math.isfinite(prediction_shift.after(known, PredictionShiftGuard(), strange, log_cap=CAP).rollback)


def test_by_default_it_holds_and_does_not_roll_back() -> None:
    policy = Policy(latency=None, prediction_shift=PLAIN)
    state, rng = evidence.fresh(1), np.random.default_rng(9)
    base, tried = np.zeros(10, dtype=int), np.zeros(10, dtype=int)
    for reading in range(1, 60):
        base, tried = base + rng.multinomial(320, CLASSES), tried + rng.multinomial(80, moved(0, 0.5))
        samples = (
            Sample("g", 1, 2, 320 * reading, reading, answers=counts(base)),
            Sample("g", 1, 3, 80 * reading, 0, answers=counts(tried)),
        )
        state, verdict = decide.decide(policy, state, samples, champion=2, challenger=3)
    assert verdict.label is not Label.FAIL
    assert [(finding.guard, finding.action) for finding in verdict.holding] == [("prediction_shift", Action.HOLD)]
    assert "answers otherwise" in verdict.holding[0].sentence


def scores(rng: np.random.Generator, mean: float, many: int) -> Counts:
    drawn = rng.lognormal(math.log(mean), 0.8, many)
    numbers, many_each = np.unique([answers.of_score(score) for score in drawn], return_counts=True)
    return tuple(zip(numbers.tolist(), many_each.tolist(), strict=True))


def test_scores_are_put_in_order_and_told_by_their_cuts() -> None:
    rng, known, guard = np.random.default_rng(5), prediction_shift.Evidence(), PredictionShiftGuard()
    for _ in range(20):
        arms = (Arm(answers=scores(rng, 300.0, 320)), Arm(answers=scores(rng, 450.0, 80)))
        known = prediction_shift.after(known, guard, Window(1, *arms), log_cap=CAP)
    assert 20 <= len(known.classes) <= prediction_shift.MOST_CUTS
    assert known.peak >= CAP
    effect, (measure,) = prediction_shift.report(known, guard)
    assert measure.name.startswith("share_above_")
    assert effect.ratio is not None
    assert effect.ratio > 1.2


def test_a_score_between_two_cuts_counts_as_below_the_higher() -> None:
    known, guard = prediction_shift.Evidence(), PredictionShiftGuard()
    two, four, six = (answers.of_score(score) for score in (0.2, 0.4, 0.6))
    known = prediction_shift.after(known, guard, Window(1, Arm(answers=((two, 90), (four, 30))), Arm()), log_cap=CAP)
    assert known.classes == (two, four)
    arms = Arm(answers=((answers.of_score(0.3), 100),)), Arm(answers=((answers.of_score(0.3), 20), (six, 80)))
    known = prediction_shift.after(known, guard, Window(1, *arms), log_cap=CAP)
    effect, (measure,) = prediction_shift.report(known, guard)
    assert (effect.of, measure.champion, measure.challenger) == ("share_above_0.4", 0.0, 0.8)


def test_answers_come_in_samples_of_their_own_and_wait_for_both_sides() -> None:
    """Replicas count them, gateways the rest. One side alone is nothing to compare; it waits, whatever the others do."""
    policy = Policy(prediction_shift=PLAIN)
    state, rng = evidence.fresh(1), np.random.default_rng(4)
    yes, no = answers.of_class("yes"), answers.of_class("no")

    def answered(version: int, many: int, part: float) -> Sample:
        agreeing = int(rng.binomial(many, part))
        return Sample(
            "replicas", 3, version, 0, 0, f"r{version}#1", answers=tuple(sorted([(no, many - agreeing), (yes, agreeing)]))
        )

    alone, _ = decide.decide(policy, state, (answered(2, 400, 0.3),), champion=2, challenger=3)
    assert alone.prediction_shift is None
    both = (answered(2, 400, 0.3), answered(3, 200, 0.6))
    once, _ = decide.decide(policy, state, both, champion=2, challenger=3)
    assert once.prediction_shift is not None
    assert dict(once.rows)["error_rate"][:4] == (0.0, 0.0, 0.0, 0.0)
    assert not once.blocked
    later = (*both, Sample("gw", 3, 2, 500, 1), Sample("gw", 3, 3, 100, 0))
    state, verdict = decide.decide(policy, once, later, champion=2, challenger=3, unread_answers="r3 is away.")
    finding = next(finding for finding in verdict.findings if finding.guard == "prediction_shift")
    assert (finding.champion_requests, finding.challenger_requests) == (400, 200)
    assert finding.sentence == "Nothing shown yet about the answers of version 3, and they cannot be read now: r3 is away."
    state, verdict = decide.decide(policy, state, (answered(2, 4000, 0.3), answered(3, 2000, 0.6)), champion=2, challenger=3)
    (held,) = verdict.holding
    assert "class yes" in held.sentence or "class no" in held.sentence


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_how_many_answers_are_missing_is_forecast_within_half_to_twice(share: float) -> None:
    guard, needed, forecasts = PredictionShiftGuard(margin_pct=20.0), math.log(20.0), []
    for seed in range(6):
        rng, known, own, first = np.random.default_rng(seed), prediction_shift.Evidence(), 0, None
        while known.promotion < needed:
            answered, own = int(100 * share), own + int(100 * share)
            arms = (Arm(answers=scores(rng, 300.0, 100 - answered)), Arm(answers=scores(rng, 300.0, answered)))
            known = prediction_shift.after(known, guard, Window(1, *arms), log_cap=CAP)
            if first is None and (missing := prediction_shift.more(known, needed)) is not None:
                first = own + missing
        assert first is not None
        forecasts.append(first / own)
    assert 0.5 <= np.mean(forecasts) <= 2.0
    assert prediction_shift.more(prediction_shift.Evidence(), needed) is None
