"""One finding per guard: what its evidence, its counts and its effect say, for people and machines.

Called by `decide` after the counts were folded in. Reads the state, never changes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log

from . import blocking, fold, forecast, guards, interval, latency_report, prediction_shift, sentences, words
from .blocking import Blocked
from .evidence import State
from .policy import ErrorRateGuard, Guard, LatencyGuard, Policy
from .samples import Arm, total
from .verdict import Effect, Finding, Label, Measure

LN10 = log(10.0)
LEANING = 200.0  # requests as which the common rate counts in the challenger's: a forecast from three requests is none
NO_EFFECT = Effect(None, None, None)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one guard compared: requests and bad ones on both sides, its effect, and what is still missing."""

    champion: tuple[int, int]
    challenger: tuple[int, int]
    effect: Effect = NO_EFFECT
    measures: tuple[Measure, ...] = ()
    more: int | None = None
    more_blocks: int | None = None

    @property
    def worst(self) -> Measure | None:
        """What the effect is about, on both sides."""
        named = self.effect.of.split()[0]
        return next((m for m in self.measures if m.name.removesuffix("_ms") == named), next(iter(self.measures), None))


def finding(
    policy: Policy, state: State, name: str, *, champion: int, challenger: int, blind: str | None, unread: str = ""
) -> Finding:
    """One guard's finding. blind: why nothing could be read this time (None: it could). unread: why what this guard alone needs could not."""
    guard: Guard = getattr(policy, name)
    head, cap = guards.head(policy, state, name), guards.log_caps(policy)[name]
    base, tried = map(sentences.Side, (champion, challenger), fold.counted(state))
    p_value = p_value_of(max(head.peak, head.rollback))
    seen = _SEEN[name](policy, state, base.arm, tried.arm)
    if state.failed == name or head.peak >= cap:
        label, sentence = Label.FAIL, words.worse(name, policy, base, tried, seen.worst, p_value)
        if head.peak < cap:
            sentence = sentences.together(sentence)
    elif blind is not None:
        label, sentence = Label.BLIND, sentences.blind(tried, blind)
    elif head.promotion >= -log(policy.beta):
        label, sentence = Label.PASS, words.within(name, policy, base, tried, seen.worst)
    else:
        label, sentence = Label.INSUFFICIENT, words.missing(name, base, tried, seen.more, seen.worst, unread)
        if isinstance(guard, ErrorRateGuard | LatencyGuard) and guards.in_blocks(guard):
            sentence = words.missing_in_blocks(name, base, tried, guard.block_s, seen.more_blocks)
    requests = seen.challenger[0]
    return Finding(
        guard=name,
        label=label,
        sentence=sentence,
        effect=seen.effect,
        evidence=head.rollback / LN10,
        threshold=cap / LN10,
        promotion_evidence=head.promotion / LN10,
        promotion_threshold=-log(policy.beta) / LN10,
        p_value=p_value,
        champion_requests=seen.champion[0],
        champion_errors=seen.champion[1],
        challenger_requests=requests,
        challenger_errors=seen.challenger[1],
        more_requests=seen.more if label is Label.INSUFFICIENT else None,
        evidence_per_1000=head.rollback / LN10 * 1000.0 / requests if requests else None,
        measures=seen.measures,
        action=guards.action(guard),
        mode="block" if guards.in_blocks(guard) else "exact",
    )


def p_value_of(peak: float) -> float:
    """Anytime-valid: the chance of ever as much evidence against a tolerated version."""
    return min(1.0, exp(-max(peak, 0.0)))


def _error_rate(policy: Policy, state: State, base: Arm, tried: Arm) -> Seen:
    more, more_blocks = None, None
    if base.requests and tried.requests:
        share = tried.requests / (base.requests + tried.requests)
        common = (base.errors + tried.errors) / (base.requests + tried.requests)
        own = (tried.errors + LEANING * common) / (tried.requests + LEANING)
        rate = base.errors / base.requests
        if guards.in_blocks(policy.error_rate):
            rows, (margin,) = dict(state.blocked).get("error_rate", Blocked()).within, blocking.margins(policy.error_rate)
            more_blocks = forecast.blocks_to_pass(policy, rows, margin, rate, own)
        else:
            more = forecast.to_pass(policy, dict(state.rows).get("error_rate", ()), rate, own, share)
    counts = (base.requests, base.errors), (tried.requests, tried.errors)
    return Seen(*counts, interval.effect(state.likelihood), _rates("error_rate", *counts), more, more_blocks)


def _latency(policy: Policy, state: State, base: Arm, tried: Arm) -> Seen:
    counts = (total(base.latency), 0), (total(tried.latency), 0)
    if state.latency is None or policy.latency is None:
        return Seen(*counts)
    effect, measures, more = latency_report.report(state.latency, policy, policy.latency, base.latency, tried.latency)
    return Seen(*counts, effect, measures, None if guards.in_blocks(policy.latency) else more)


def _prediction_shift(policy: Policy, state: State, base: Arm, tried: Arm) -> Seen:
    counts = (total(base.answers), 0), (total(tried.answers), 0)
    if state.prediction_shift is None or policy.prediction_shift is None:
        return Seen(*counts)
    effect, measures = prediction_shift.report(state.prediction_shift, policy.prediction_shift)
    return Seen(*counts, effect, measures, prediction_shift.more(state.prediction_shift, -log(policy.beta)))


def _quality(_policy: Policy, _state: State, base: Arm, tried: Arm) -> Seen:
    counts = (base.labelled, base.wrong), (tried.labelled, tried.wrong)
    effect = interval.apart(*counts, of="rate of wrong answers")
    return Seen(*counts, effect, _rates("wrong_rate", *counts))


def _disagreement(_policy: Policy, _state: State, _base: Arm, tried: Arm) -> Seen:
    pairs = tried.lost + tried.won
    ratio = tried.lost / tried.won if tried.won else None
    return Seen((pairs, tried.won), (pairs, tried.lost), Effect(ratio, None, None, "pairs lost to pairs won"))


def _rates(name: str, champion: tuple[int, int], challenger: tuple[int, int]) -> tuple[Measure, ...]:
    rates = [bad / requests if requests else None for requests, bad in (champion, challenger)]
    return (Measure(name, *rates),)


_SEEN: dict[str, Callable[[Policy, State, Arm, Arm], Seen]] = {
    "error_rate": _error_rate,
    "latency": _latency,
    "prediction_shift": _prediction_shift,
    "quality": _quality,
    "disagreement": _disagreement,
}
