"""What the judge says, in words that a tired person on call understands. Numbers in, one sentence out.

Called by `decide` and `ceiling`. Must never say more than was shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from .policy import Policy
from .samples import Arm

_PAST = "This compares with the champion's past, not with traffic beside it."


@dataclass(frozen=True, slots=True)
class Side:
    """A version and what was counted of it."""

    version: int
    arm: Arm

    @property
    def failures(self) -> str:
        """Arm(418, 41) -> "9.8 % (41 of 418)"."""
        arm = self.arm
        return (
            f"{percent(arm.errors / arm.requests)} ({count(arm.errors)} of {count(arm.requests)})"
            if arm.requests
            else "nothing"
        )

    def __str__(self) -> str:
        return f"version {self.version}"


def count(number: int) -> str:
    """8120 -> "8 120"."""
    return f"{number:,}".replace(",", " ")


def percent(part: float) -> str:
    """0.0982 -> "9.8 %"; small parts keep two digits that tell something."""
    value = 100.0 * part
    if value == 0.0 or value >= 0.995:
        return f"{value:.1f} %"
    return f"{value:.2g} %" if value >= 0.001 else "below 0.001 %"


def blind(tried: Side, why: str) -> str:
    cause = why.rstrip(". ") or "the gateway's counts could not be read"
    return f"Version {tried.version} cannot be judged now: {cause}. What was known before stays known."


def chance(p_value: float) -> str:
    size = "below 0.01 %" if p_value < 0.0001 else f"at most {percent(p_value)}"
    return f"chance of such a difference without a real one: {size}."


def worse(base: Side, tried: Side, p_value: float) -> str:
    arm = tried.arm
    return (
        f"Version {tried.version} fails {percent(arm.errors / arm.requests)} of its requests ({count(arm.errors)} of "
        f"{count(arm.requests)}), {base} {base.failures}; {chance(p_value)}"
    )


def within(base: Side, tried: Side, policy: Policy) -> str:
    """Says what the pass has shown: below one of the two margins, in points at the champion's rate."""
    guard = policy.error_rate
    points = max((guard.margin_ratio - 1.0) * 100.0 * base.arm.errors / base.arm.requests, guard.margin_pct)
    return (
        f"Version {tried.version} fails no more than allowed: less than +{points:.2g} points with {100 * (1 - policy.beta):g} % "
        f"confidence; it fails {tried.failures}, {base} {base.failures}."
    )


def missing(base: Side, tried: Side, more: int | None) -> str:
    if tried.arm.requests == 0:
        return f"No requests to {tried} yet."
    if base.arm.requests == 0:
        return f"No requests to {base} beside those to {tried} yet: nothing to compare with."
    if more is not None:
        return f"Not enough requests yet: about {count(more)} more to {tried}."
    return (
        f"Version {tried.version} fails {tried.failures}, {base} {base.failures}: not shown to be worse than tolerated, "
        "and at these rates it will not be shown to be within the margin."
    )


def alone_worse(base: Side, tried: Side, ceiling: float) -> str:
    return (
        f"Version {tried.version} fails {tried.failures}; {base} failed {base.failures} before, so at most "
        f"{percent(ceiling)} is tolerated. {_PAST}"
    )


def alone_within(base: Side, tried: Side, policy: Policy) -> str:
    guard = policy.error_rate
    return (
        f"Version {tried.version} fails no more than allowed, {tried.failures}; {base} failed {base.failures} before, and the "
        f"margin is {guard.margin_ratio:g} times that or +{guard.margin_pct:g} points. {_PAST}"
    )


def alone_missing(base: Side, tried: Side, more: int | None) -> str:
    if tried.arm.requests == 0:
        return f"No requests to {tried} since it was given all traffic."
    past = f"{base} failed {base.failures} before" if base.arm.requests else f"no request to {base} was seen to compare with"
    wanted = "Not enough requests yet" if more is None else f"Not enough requests yet, about {count(more)} more to {tried}"
    return f"{wanted}: it fails {tried.failures}, {past}. {_PAST}"


def together(sentence: str) -> str:
    """Of the guard that carries a verdict which no guard reaches alone."""
    return f"{sentence} Together with the other guards' evidence this suffices."
