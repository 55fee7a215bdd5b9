"""Is the challenger worse than the champion beside it? The judge's main call, once a pass while both have traffic.

Numbers in, verdict out: `rollout.judging` calls it with the counts as they were read, stores the state, and acts on the label. It must
never act, read a clock, or judge a request twice.
"""

from __future__ import annotations

from math import log

from . import findings, fold, guards
from .evidence import State
from .policy import Policy
from .samples import Sample
from .verdict import Finding, Label, Verdict

NAME = "slipway-judge/4"
_WORST_FIRST = (Label.BLIND, Label.INSUFFICIENT, Label.PASS)


def decide(
    policy: Policy,
    state: State,
    samples: tuple[Sample, ...] | None,
    *,
    champion: int,
    challenger: int,
    now_s: float = 0.0,
    blind_reason: str = "",
    unread_answers: str = "",
) -> tuple[State, Verdict]:
    """Fold the new counts in and say what is known now. samples: cumulative counts, None if they could not be read. unread_answers: why there
    are no answers among them; only their own guard minds.

    fail: worse than tolerated, with a probability of at most alpha to say so wrongly in the whole rollout; it stays. pass: within the
    margins of all guards, wrong with at most beta. blind: nothing could be read, the state is as it was.
    now_s: seconds on any clock that does not go back; only guards that are judged in blocks of time look at it.
    """
    if samples is not None:
        state = fold.fold(policy, state, samples, champion=champion, challenger=challenger, now_s=now_s, by_itself=False)
    blind = blind_reason if samples is None else None
    found = tuple(
        findings.finding(
            policy,
            state,
            name,
            champion=champion,
            challenger=challenger,
            blind=blind,
            unread=unread_answers if name == "prediction_shift" else "",
        )
        for name, _ in policy.guards()
    )
    evidence, _ = guards.total(policy, state)
    return state, Verdict(NAME, _label(state, found), found, evidence / findings.LN10, -log(policy.alpha) / findings.LN10)


def _label(state: State, found: tuple[Finding, ...]) -> Label:
    """A failed guard that only holds is no reason to call the version bad, and none to call it good: see `Verdict.holding`."""
    if state.failed:
        return Label.FAIL
    others = {finding.label for finding in found}
    return next(label for label in _WORST_FIRST if label in others)
