"""What the judge says of each guard: worse than tolerated, within the margin, or not shown yet. Numbers in, one sentence out.

Called by `findings`. As in `sentences`, nothing is said that was not shown.
"""

from __future__ import annotations

from . import sentences
from .policy import Policy
from .sentences import Side, chance, count, percent
from .verdict import Measure

_WHAT = {
    "latency": "latencies",
    "prediction_shift": "answers",
    "quality": "answers whose truth is known",
    "disagreement": "pairs",
}


def worse(name: str, policy: Policy, base: Side, tried: Side, worst: Measure | None, p_value: float) -> str:
    """Of a guard that failed."""
    if name == "latency" and policy.latency is not None:
        tolerated = _slack(policy.latency.tolerance_pct, policy.latency.tolerance_ms)
        return f"Version {tried.version} answers more slowly than tolerated ({tolerated}): {_latencies(base, worst)}{chance(p_value)}"
    if name == "prediction_shift":
        return f"Version {tried.version} answers otherwise: {_shares(base, worst)}{chance(p_value)}"
    if name == "quality":
        return f"Version {tried.version} is wrong in {_wrong(tried)} of the answers whose truth is known, {base} in {_wrong(base)}; {chance(p_value)}"
    if name == "disagreement":
        return f"{_pairs(base, tried)}; {chance(p_value)}"
    return sentences.worse(base, tried, p_value)


def within(name: str, policy: Policy, base: Side, tried: Side, worst: Measure | None) -> str:
    """Of a guard that passed: what has been shown, and with which confidence."""
    sure = f"with {100 * (1 - policy.beta):g} % confidence"
    if name == "latency" and policy.latency is not None:
        guard = policy.latency
        where = _listed([f"p{q:g}" for q in guard.quantiles_pct])
        margin = _slack(guard.margin_pct, guard.margin_ms)
        shown = f"Version {tried.version} answers no more slowly than allowed: {where} less than {margin} {sure}"
        return f"{shown}; {_latencies(base, worst)}".removesuffix("; ") + "."
    if name == "prediction_shift" and policy.prediction_shift is not None:
        points = f"{policy.prediction_shift.margin_pct:g} points {sure}"
        parts = "part above any score" if worst and worst.name.startswith("share_above_") else "share of any class"
        shown = f"Version {tried.version} answers much as {base}: the {parts} changed by less than {points}"
        return f"{shown}; {_shares(base, worst)}".removesuffix("; ") + "."
    if name == "quality":
        shown = f"Version {tried.version} is wrong no more often than allowed, {sure}"
        return f"{shown}: in {_wrong(tried)} of the answers whose truth is known, {base} in {_wrong(base)}."
    if name == "disagreement" and policy.disagreement is not None:
        return f"{_pairs(base, tried)}: less than {policy.disagreement.margin_ratio:g} times as many as it won, {sure}."
    return sentences.within(base, tried, policy)


def missing(name: str, base: Side, tried: Side, more: int | None, worst: Measure | None = None, unread: str = "") -> str:
    """Of a guard that has not seen enough, how much it still needs, and of latencies what they were so far. unread: why its counts could not be read
    this time."""
    if name == "error_rate" or not tried.arm.requests or not base.arm.requests:
        return sentences.missing(base, tried, more)
    if unread:
        return f"Nothing shown yet about the {_WHAT[name]} of {tried}, and they cannot be read now: {unread.rstrip('. ')}."
    so_far = f" ({seen} so far)" if name == "latency" and (seen := _latencies(base, worst).removesuffix("; ")) else ""
    if more is None:
        return f"Nothing shown yet about the {_WHAT[name]} of {tried}{so_far}."
    return f"Not enough requests to compare the {_WHAT[name]}: about {count(more)} more to {tried}{so_far}."


def missing_in_blocks(name: str, base: Side, tried: Side, block_s: float, more: int | None) -> str:
    """Of a guard that is judged in blocks of time. more: blocks still needed, if that can be told."""
    if not tried.arm.requests or not base.arm.requests:
        return sentences.missing(base, tried, None)
    judged = f"the {_WHAT.get(name, 'errors')} come in bursts and are judged in blocks of {block_s:g} s"
    if more is None:
        return f"Version {tried.version} is not shown yet to be within the margin: {judged}."
    return (
        f"Not enough seen yet: {judged}, and about {count(more)} more are needed, {max(1, round(more * block_s / 60.0))} min."
    )


def _slack(pct: float, ms: float) -> str:
    """10, 1 -> "+10 % or +1 ms": whichever is more."""
    return f"+{pct:g} % or +{ms:g} ms" if ms else f"+{pct:g} %"


def _latencies(base: Side, worst: Measure | None) -> str:
    if worst is None or worst.champion is None or worst.challenger is None:
        return ""
    return f"{worst.name.removesuffix('_ms')} {_ms(worst.challenger)}, {base} {_ms(worst.champion)}; "


def _ms(value: float) -> str:
    """0.84 -> "0.84 ms", 1234.5 -> "1 230 ms"."""
    return f"{value:.2g} ms" if value < 99.5 else f"{count(int(round(value, -1 if value >= 1000.0 else 0)))} ms"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _shares(base: Side, worst: Measure | None) -> str:
    if worst is None or worst.champion is None or worst.challenger is None:
        return ""
    name = worst.name.removeprefix("share_").replace("_", " ", 1)
    return f"{percent(worst.challenger)} of its answers are {name}, {percent(worst.champion)} of those of {base}; "


def _wrong(side: Side) -> str:
    arm = side.arm
    if not arm.labelled:
        return "nothing"
    return f"{percent(arm.wrong / arm.labelled)} ({count(arm.wrong)} of {count(arm.labelled)})"


def _pairs(base: Side, tried: Side) -> str:
    pairs = tried.arm.lost + tried.arm.won
    return f"Of {count(pairs)} pairs that only one got right, {tried} lost {count(tried.arm.lost)} to {base}"
