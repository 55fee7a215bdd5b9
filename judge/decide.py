"""Is the challenger worse than the champion beside it? The judge's main call, once a pass while both have traffic.

Numbers in, verdict out: `rollout.judging` calls it with the counts as they were read, stores the state, and acts on the label. It must
never act, read a clock, or judge a request twice.
"""

from __future__ import annotations

from math import exp, log

from . import fold, forecast, interval, sentences
from .evidence import State
from .policy import Policy
from .samples import Arm, Sample
from .verdict import Finding, Label, Verdict

NAME = "slipway-judge/1"
GUARD = "error_rate"
LN10 = log(10.0)
LEANING = 200.0  # requests as which the common rate counts in the challenger's: a forecast from three requests is none


def decide(
    policy: Policy,
    state: State,
    samples: tuple[Sample, ...] | None,
    *,
    champion: int,
    challenger: int,
    blind_reason: str = "",
) -> tuple[State, Verdict]:
    """Fold the new counts in and say what is known now. samples: cumulative counts, None if they could not be read.

    fail: worse than tolerated, with a probability of at most alpha to say so wrongly in the whole rollout; it stays. pass: within the
    margin, wrong with at most beta. blind: nothing could be read, the state is as it was.
    """
    if samples is not None:
        state = fold.fold(policy, state, samples, champion=champion, challenger=challenger, by_itself=False)
    finding = _finding(policy, state, champion, challenger, blind=blind_reason if samples is None else None)
    return state, Verdict(NAME, finding.label, (finding,))


def _finding(policy: Policy, state: State, champion: int, challenger: int, *, blind: str | None) -> Finding:
    base, tried = map(sentences.Side, (champion, challenger), fold.counted(state))
    p_value = p_value_of(state.rollback.peak)
    passing = state.promotion.log
    more: int | None = None
    if state.rollback.peak >= -log(policy.alpha):
        label, sentence = Label.FAIL, sentences.worse(base, tried, p_value)
    elif blind is not None:
        label, sentence = Label.BLIND, sentences.blind(tried, blind)
    elif passing >= -log(policy.beta):
        label, sentence = Label.PASS, sentences.within(base, tried, policy)
    else:
        more = _more(policy, state, base.arm, tried.arm)
        label, sentence = Label.INSUFFICIENT, sentences.missing(base, tried, more)
    return Finding(
        guard=GUARD,
        label=label,
        sentence=sentence,
        effect=interval.effect(state.likelihood),
        evidence=state.rollback.log / LN10,
        threshold=-log(policy.alpha) / LN10,
        promotion_evidence=passing / LN10,
        promotion_threshold=-log(policy.beta) / LN10,
        p_value=p_value,
        champion_requests=base.arm.requests,
        champion_errors=base.arm.errors,
        challenger_requests=tried.arm.requests,
        challenger_errors=tried.arm.errors,
        more_requests=more,
    )


def p_value_of(peak: float) -> float:
    """Anytime-valid: the chance of ever as much evidence against a tolerated version."""
    return min(1.0, exp(-max(peak, 0.0)))


def _more(policy: Policy, state: State, base: Arm, tried: Arm) -> int | None:
    """Challenger requests to a pass at the share and the rates seen so far, the challenger's leaning on both arms' at first."""
    if not base.requests or not tried.requests:
        return None
    share = tried.requests / (base.requests + tried.requests)
    common = (base.errors + tried.errors) / (base.requests + tried.requests)
    own = (tried.errors + LEANING * common) / (tried.requests + LEANING)
    return forecast.to_pass(policy, state.promotion, base.errors / base.requests, own, share)
