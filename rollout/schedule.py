"""The evidence-driven ramp: how much traffic the challenger may have, given what is known of it. judge.md section 11.

At share w a version that fails a part u more of its requests than the champion costs lambda * w * u * d bad requests until it can be taken
off, d seconds later. So the share is what keeps that below a budget for the worst u that the evidence still allows: a dead version
meets a trickle, and n requests without an error make room for a share that grows with n. Pure; called by `machine` and `preview`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

from judge import interval, sentences
from judge.verdict import Finding, Verdict

from .model import Ramp

GROWTH = 3.0  # the share at most so many times the one before
WORTH_IT = 1.3  # a smaller rise is not worth a new epoch
DOUBT = 0.1  # error probability of the bound on the challenger's own rate
FIRST_PCT = 5  # the first share at most, however little traffic there is
UNKNOWN_PCT = 1  # while nobody knows the traffic


@dataclass(frozen=True, slots=True)
class Share:
    """weight_pct: what the challenger may have now, in whole percent. why: one sentence."""

    weight_pct: int
    why: str


def first(ramp: Ramp, requests_per_s: float | None) -> Share:
    """Before anything is known of the challenger: it may be dead."""
    return _within_budget(ramp, requests_per_s, 1.0, min(FIRST_PCT, ramp.hold_pct))


def following(ramp: Ramp, weight_pct: int, requests_per_s: float | None, verdict: Verdict | None) -> Share:
    """After so much traffic: the same share, or a larger one."""
    finding = next((f for f in verdict.findings if f.guard == "error_rate"), None) if verdict else None
    return after(ramp, weight_pct, requests_per_s, worst_excess(finding) if finding else 1.0)


def after(ramp: Ramp, weight_pct: int, requests_per_s: float | None, excess: float) -> Share:
    """`following`, for a known bound of the excess error rate."""
    most = min(floor(GROWTH * weight_pct), ramp.hold_pct)
    share = _within_budget(ramp, requests_per_s, excess, most)
    enough = share.weight_pct >= min(WORTH_IT * weight_pct, ramp.hold_pct) and share.weight_pct > weight_pct
    return share if enough else Share(weight_pct, share.why)


def worst_excess(finding: Finding) -> float:
    """Upper confidence bound of how much larger a part of its requests the challenger fails: by the ratio to the champion, and by its
    own failures alone, whichever is less."""
    own = interval.rate(finding.challenger_errors, finding.challenger_requests, DOUBT)[1]
    high = finding.effect.high
    if high is None or not finding.champion_requests:
        return own
    base = finding.champion_errors / finding.champion_requests
    return max(0.0, min(own, base * (high - 1.0)))


def _within_budget(ramp: Ramp, requests_per_s: float | None, excess: float, most_pct: int) -> Share:
    if requests_per_s is None:
        return Share(min(UNKNOWN_PCT, most_pct), "the traffic is not known yet")
    cost = requests_per_s * ramp.reaction_s * excess  # bad requests at a share of one
    allowed = most_pct if cost <= 0.0 else min(most_pct, floor(100.0 * ramp.bad_requests / cost))
    weight_pct = max(allowed, 1)
    at_worst = (
        f"at worst {sentences.percent(excess)} more of them fail, so at most {ramp.bad_requests:g} bad answers in {ramp.reaction_s:g} s "
        f"at {requests_per_s:.3g} requests/s"
    )
    return Share(weight_pct, at_worst)
