"""A rollout judged again: bit for bit by its own policy, and by another."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from controlplane.store import bodies
from judge import answers, evidence
from judge.policy import ErrorRateGuard, LatencyGuard, Mode, Policy, PredictionShiftGuard
from judge.samples import Sample
from judge.verdict import Label
from rollout import commands, judging, model, ports, replay

START = datetime(2026, 1, 1, tzinfo=UTC)


def lived(p1: float, policy: Policy | None = None) -> tuple[model.Rollout, list[model.Reading]]:
    """A canary with 20 % of 100 requests/s, read every second, one reading in five lost; then a while alone on probation."""
    spec = model.Spec("m", 3, 2, policy=policy or Policy())
    rollout, readings, rng = commands.new_rollout(spec, "r1", START), [], random.Random(1)
    counts = {(1, 2): [50, 1], (1, 3): [0, 0], (2, 3): [0, 0]}
    for second in range(120):
        phase = model.Phase.STARTING if second < 5 else model.Phase.PROGRESSING if second < 90 else model.Phase.PROBATION
        for version, requests, rate in ((2, 80, 0.005), (3, 20, p1)):
            if (version, phase) not in ((3, model.Phase.STARTING), (2, model.Phase.PROBATION)):
                total = counts[2 if phase is model.Phase.PROBATION else 1, version]
                total[0] += requests
                total[1] += sum(rng.random() < rate for _ in range(requests))
        known: tuple[Sample, ...] | model.Unknown = tuple(
            Sample("g@1", epoch, version, n, x, latency=((100, n - x),)) for (epoch, version), (n, x) in counts.items() if n
        )
        if rng.random() < 0.2:
            known = model.Unknown("away")
        rollout = replace(rollout, status=replace(rollout.status, phase=phase))
        judged = judging.judge(rollout, model.Observed(START + timedelta(seconds=second), samples=known))
        rollout = judged.rollout
        readings += [judged.reading] if judged.reading else []
    return rollout, readings


def test_every_decision_is_recomputed_bit_for_bit() -> None:
    rollout, readings = lived(0.006)
    found = replay.replay(rollout, readings)
    assert found.same
    assert found.looks[-1].verdict == rollout.status.verdict
    assert {look.phase for look in found.looks} == {model.Phase.PROGRESSING, model.Phase.PROBATION}
    shares = [look.share_pct for look in found.looks if look.phase is model.Phase.PROGRESSING]
    assert shares[10] == pytest.approx(20.0)


def answered(part: float) -> tuple[model.Rollout, list[model.Reading]]:
    """A canary of which the answers are counted too; read every second, one reading in four lost, one replica restarted."""
    policy = Policy(latency=None, prediction_shift=PredictionShiftGuard())
    rollout = commands.new_rollout(model.Spec("m", 3, 2, policy=policy), "r1", START)
    readings, rng, names = [], random.Random(2), tuple(map(answers.of_class, ("late", "on time, " + "x" * 90)))
    counts = {(2, "a"): [0, 0], (3, "b"): [0, 0]}
    for second in range(150):
        phase = model.Phase.STARTING if second < 3 else model.Phase.PROGRESSING
        if second == 60:
            counts[3, "b after a crash"] = [0, 0]
        for (version, process), total in counts.items():
            if version == 2 or (phase is model.Phase.PROGRESSING and (second < 60) == (process == "b")):
                for _ in range(80 if version == 2 else 40):
                    total[rng.random() > (0.2 if version == 2 else part)] += 1
        requests = {version: sum(map(sum, (c for (v, _), c in counts.items() if v == version))) for version in (2, 3)}
        samples = tuple(Sample("g@1", 1, version, many, 0) for version, many in requests.items() if many)
        counted: tuple[Sample, ...] | model.Unknown = tuple(
            Sample("replicas", 1, version, 0, 0, process, answers=tuple((n, c) for n, c in zip(names, total, strict=True) if c))
            for (version, process), total in counts.items()
        )
        if rng.random() < 0.25 or phase is model.Phase.STARTING:
            counted = model.Unknown("b did not say")
        rollout = replace(rollout, status=replace(rollout.status, phase=phase))
        judged = judging.judge(rollout, model.Observed(START + timedelta(seconds=second), samples=samples, answers=counted))
        rollout = judged.rollout
        readings += [judged.reading] if judged.reading else []
    return rollout, readings


@pytest.mark.parametrize(("part", "label"), [(0.2, Label.PASS), (0.3, Label.FAIL)])
def test_answers_are_judged_and_recomputed_from_what_is_stored(part: float, label: Label) -> None:
    rollout, readings = answered(part)
    stored = bodies.load_rollout(bodies.dump_rollout(rollout))
    found = replay.replay(stored, [bodies.load_reading(bodies.dump_reading(reading)) for reading in readings])
    assert found.same
    assert stored.status.verdict is not None
    finding = next(finding for finding in stored.status.verdict.findings if finding.guard == "prediction_shift")
    assert finding.label is label
    lost = 4 * 120
    assert finding.champion_requests >= 147 * 80 - lost
    assert finding.challenger_requests >= 147 * 40 - lost
    assert "late" in finding.sentence or "on time" in finding.sentence
    assert (label is Label.FAIL) == bool(stored.status.verdict.holding)


def test_what_was_not_given_does_not_come_out() -> None:
    rollout, readings = lived(0.006)
    assert replay.replay(rollout, readings[:-1]).same is False
    swapped = [*readings[:20], replace(readings[20], samples=()), *readings[21:]]
    assert replay.replay(rollout, swapped).looks != replay.replay(rollout, readings).looks


def test_another_policy_decides_otherwise_and_says_when() -> None:
    rollout, readings = lived(0.05)
    strict = replay.replay(rollout, readings, Policy(alpha=0.2))
    lax = replay.replay(rollout, readings, Policy(error_rate=ErrorRateGuard(50.0, 40.0, 100.0, 50.0)))
    own = replay.replay(rollout, readings)
    assert own.failed is not None
    assert strict.failed is not None
    assert strict.failed.at <= own.failed.at
    assert (lax.failed, strict.same, lax.same) == (None, None, None)


def test_nothing_to_judge_is_no_fault() -> None:
    rollout = commands.new_rollout(model.Spec("m", 3, 2), "r1", START)
    assert replay.replay(rollout, []) == replay.Replay((), None, None, None)


def test_what_is_judged_in_blocks_comes_out_bit_for_bit_too() -> None:
    policy = Policy(error_rate=ErrorRateGuard(mode=Mode.BLOCK, block_s=5.0), latency=LatencyGuard(mode=Mode.BLOCK, block_s=5.0))
    rollout, readings = lived(0.006, policy)
    assert rollout.status.judge is not None
    assert rollout.status.judge.blocked
    assert rollout.status.judge.alone.row, "on probation as well"
    assert replay.replay(rollout, readings).same
    assert bodies.load_rollout(bodies.dump_rollout(rollout)) == rollout


def test_a_state_of_an_earlier_slipway_is_begun_anew() -> None:
    rollout, readings = lived(0.006)
    assert rollout.status.judge is not None
    unreadable = bodies.dump_rollout(rollout).replace('"waiting":', '"gone":').replace('"seed":', '"seeds":')
    with pytest.raises(ports.Refused, match="seed"):
        bodies.load_rollout(unreadable)
    earlier = bodies.load_rollout(unreadable.replace(f'"version":{evidence.VERSION}', '"version":1'))
    assert earlier == replace(rollout, status=replace(rollout.status, judge=None)), "all but its evidence"
    assert replay.replay(earlier, readings).same is None
    old = replace(rollout, status=replace(rollout.status, judge=replace(rollout.status.judge, version=1)))
    judged = judging.judge(old, model.Observed(START + timedelta(hours=1), samples=readings[-1].samples))
    assert judged.rollout.status.judge is not None
    assert judged.rollout.status.judge.version == evidence.VERSION
    assert judged.rollout.status.judge.challenger.requests == 0, "the first reading is where it begins to count"
