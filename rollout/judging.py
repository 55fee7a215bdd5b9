"""Which question the judge is asked in which phase. Pure; called by the loop between observe and advance.

starting: the champion's counts are its baseline. progressing: both arms run side by side. promoting and probation: the
challenger runs alone and is held against the champion's past.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

from judge import selfcheck
from judge.ceiling import decide_alone, observe_baseline
from judge.decide import decide
from judge.evidence import VERSION, State, fresh
from judge.samples import Sample
from judge.verdict import Label, Verdict

from . import commands
from .events import Event, Kind
from .model import Observed, Phase, Reading, Rollout, Strategy, Unknown

SIDE_BY_SIDE = 0.8  # of alpha: most releases that are bad show it on the steps

_LOOKING = frozenset({Phase.STARTING, Phase.PROGRESSING, Phase.PROMOTING, Phase.PROBATION})


def looks(rollout: Rollout) -> bool:
    """Does the judge want the counts in this phase?"""
    return rollout.status.phase in _LOOKING and rollout.spec.champion is not None


@dataclass(frozen=True, slots=True)
class Judged:
    """The rollout with the judge's new state and verdict, an event when the label changed, and what was new in the counts."""

    rollout: Rollout
    facts: tuple[Event, ...] = ()
    reading: Reading | None = None


def judge(rollout: Rollout, observed: Observed) -> Judged:
    """Ask the judge about what was observed.

    The first readable counts only set the cursor: what happened before the rollout is not held for or against it.
    Somebody who asked to leave is not kept waiting for a verdict: nothing was asked of the gateway then.
    """
    if not looks(rollout) or commands.urgent(rollout):
        return Judged(rollout)
    if observed.selfcheck is not None:
        checked = replace(rollout, status=replace(rollout.status, selfcheck=observed.selfcheck))
        found = judge(checked, replace(observed, selfcheck=None))
        fact = Event(rollout.id, rollout.spec.model, observed.now, Kind.SELF_CHECK, observed.selfcheck.sentence)
        return replace(found, facts=(fact, *found.facts))
    state, reading = rollout.status.judge, None
    if state is not None and state.version != VERSION:  # written by an earlier slipway: its evidence means something else
        state = None
    if isinstance(observed.samples, Unknown):
        if state is None:
            return Judged(rollout)
        after, verdict = _ask(rollout, state, None, observed.now.timestamp(), observed.samples.reason)
    else:
        answers, unread = observed.answers, ""
        if isinstance(answers, Unknown):  # their guard waits, the others do not
            unread, answers = answers.reason, ()
        samples = _changed(state, observed.samples + answers)
        reading = Reading(observed.now, rollout.status.phase, samples) if samples or state is None else None
        after, verdict = question(rollout, state, Reading(observed.now, rollout.status.phase, samples), unread)
    before = rollout.status.verdict
    status = replace(rollout.status, judge=after, verdict=verdict or before)
    told = verdict is not None and (before is None or before.label is not verdict.label)
    facts = (_event(rollout, observed, verdict),) if told and verdict else ()
    return Judged(replace(rollout, status=status), facts, reading)


def wants_selfcheck(rollout: Rollout) -> bool:
    """Once, before a canary has a challenger."""
    canary = rollout.spec.strategy is Strategy.CANARY and rollout.spec.champion is not None
    return canary and rollout.status.phase is Phase.STARTING and rollout.status.selfcheck is None


def wants_answers(rollout: Rollout) -> bool:
    """Only beside the champion, where what moves the traffic moves both versions' answers, and only if the policy asks."""
    return rollout.status.phase is Phase.PROGRESSING and rollout.spec.policy.prediction_shift is not None


def question(rollout: Rollout, state: State | None, reading: Reading, unread_answers: str = "") -> tuple[State, Verdict | None]:
    """What the judge makes of one reading, with the question of its phase; the same for a live rollout and for a replay, which
    does not know why there were no answers in a reading."""
    if state is None:
        return replace(fresh(zlib.crc32(rollout.id.encode())), cursor=_base(reading.samples)), None
    at = replace(rollout, status=replace(rollout.status, phase=reading.phase))
    return _ask(at, state, reading.samples, reading.at.timestamp(), "", unread_answers=unread_answers)


def _changed(state: State | None, samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    known = {sample.key: sample for sample in state.cursor} if state else {}
    return tuple(sample for sample in samples if known.get(sample.key) != sample)


def _ask(
    rollout: Rollout,
    state: State,
    samples: tuple[Sample, ...] | None,
    now_s: float,
    blind_reason: str,
    *,
    unread_answers: str = "",
) -> tuple[State, Verdict | None]:
    spec = rollout.spec
    assert spec.champion is not None
    if rollout.status.phase is Phase.STARTING:
        return (state if samples is None else observe_baseline(state, samples, spec.champion)), None
    policy = selfcheck.applied(spec.policy, rollout.status.selfcheck)
    policy = replace(policy, alpha=policy.alpha * _alpha_share(rollout))
    sides = {"champion": spec.champion, "challenger": spec.version}
    if rollout.status.phase is not Phase.PROGRESSING:
        return decide_alone(policy, state, samples, **sides, now_s=now_s, blind_reason=blind_reason)
    return decide(policy, state, samples, **sides, now_s=now_s, blind_reason=blind_reason, unread_answers=unread_answers)


def _alpha_share(rollout: Rollout) -> float:
    """A canary is judged twice, beside the champion and alone on probation; together they spend one alpha."""
    if rollout.spec.strategy is not Strategy.CANARY or rollout.spec.probation_s == 0:
        return 1.0
    return SIDE_BY_SIDE if rollout.status.phase is Phase.PROGRESSING else 1.0 - SIDE_BY_SIDE


def _base(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    return tuple(sorted(samples, key=lambda sample: sample.key))


def _event(rollout: Rollout, observed: Observed, verdict: Verdict) -> Event:
    sentence = verdict.reason if verdict.label is not Label.BLIND else f"Blind: {verdict.reason}"
    data: dict[str, object] = {"label": verdict.label.value, "judge": verdict.judge}
    return Event(rollout.id, rollout.spec.model, observed.now, Kind.VERDICT, sentence, data=data)
