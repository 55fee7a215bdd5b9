"""Is the challenger worse than the champion was? For times without traffic on the champion: after a blue-green switch, and in probation.

`rollout.judging` calls `observe_baseline` while the challenger starts and `decide_alone` once it has all traffic. The comparison is with the
past: if the outside changed with the switch, it cannot tell, and its sentences say so. It must never hold a request against
the challenger that arrived in an epoch in which the champion had traffic too; those are judged beside the champion.
"""

from __future__ import annotations

from math import log

from . import alone, decide, findings, fold, guards, interval, sentences
from .evidence import State
from .policy import Policy
from .samples import Sample
from .verdict import Finding, Label, Verdict


def observe_baseline(state: State, samples: tuple[Sample, ...], champion: int) -> State:
    """Fold champion traffic into the baseline while there is no challenger to judge. `decide` goes on from its cursor."""
    return fold.baseline(state, samples, champion)


def decide_alone(
    policy: Policy,
    state: State,
    samples: tuple[Sample, ...] | None,
    *,
    champion: int,
    challenger: int,
    now_s: float = 0.0,
    blind_reason: str = "",
) -> tuple[State, Verdict]:
    """Fold the new counts in and compare the challenger with the champion's past; labels and errors as in `decide.decide`.

    Alpha and beta are spent anew, half on the bounds of the champion's past rate and half on the evidence.
    """
    if samples is not None:
        state = fold.fold(policy, state, samples, champion=champion, challenger=challenger, now_s=now_s, by_itself=True)
    finding = _finding(policy, state, champion, challenger, blind=blind_reason if samples is None else None)
    return state, Verdict(decide.NAME, finding.label, (finding,), finding.evidence, finding.threshold)


def _finding(policy: Policy, state: State, champion: int, challenger: int, *, blind: str | None) -> Finding:
    known = state.alone
    base, tried = sentences.Side(champion, state.baseline), sentences.Side(challenger, known.arm)
    to_fail, to_pass = alone.needed(policy)
    passing = known.within
    more: int | None = None
    if known.ceiling is not None and known.peak >= to_fail:
        label, sentence = Label.FAIL, sentences.alone_worse(base, tried, known.ceiling)
    elif blind is not None:
        label, sentence = Label.BLIND, sentences.blind(tried, blind)
    elif passing >= to_pass:
        label, sentence = Label.PASS, sentences.alone_within(base, tried, policy)
    else:
        more = alone.more(known, policy)
        label, sentence = Label.INSUFFICIENT, sentences.alone_missing(base, tried, more)
    return Finding(
        guard="error_rate",
        label=label,
        sentence=sentence,
        effect=interval.apart((base.arm.requests, base.arm.errors), (tried.arm.requests, tried.arm.errors), of="error rate"),
        evidence=known.worse / findings.LN10,
        threshold=to_fail / findings.LN10,
        promotion_evidence=passing / findings.LN10,
        promotion_threshold=to_pass / findings.LN10,
        p_value=findings.p_value_of(known.peak - log(2.0)),  # half of it is spent on the ceiling
        champion_requests=base.arm.requests,
        champion_errors=base.arm.errors,
        challenger_requests=tried.arm.requests,
        challenger_errors=tried.arm.errors,
        more_requests=more,
        mode="block" if guards.in_blocks(policy.error_rate) else "exact",
    )
