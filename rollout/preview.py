"""What a rollout would need before it is started: requests and minutes per step, and a refusal when it cannot finish.

Called by the API's plan endpoint with the traffic of the last seconds. Forecasts, not promises: they assume a healthy
challenger and traffic as it is now.
"""

from __future__ import annotations

from dataclasses import dataclass

from judge import forecast, interval
from judge.policy import Policy
from judge.samples import NO_COUNTS, Counts

from . import schedule
from .model import Ramp, Spec, Step, Strategy

_LOOKS = tuple(float(2**exponent) for exponent in range(13))  # seconds after which a ramp is looked at in a forecast


@dataclass(frozen=True, slots=True)
class PreviewStep:
    """One step: challenger requests it needs, and minutes at today's traffic (None: no traffic to count with)."""

    index: int
    weight_pct: int
    requests: int
    minutes: float | None
    why: str


@dataclass(frozen=True, slots=True)
class Preview:
    """`refusal` says why it cannot finish as it stands and what to change; None: it can."""

    steps: tuple[PreviewStep, ...]
    total_requests: int
    total_minutes: float | None
    refusal: str | None
    sentences: tuple[str, ...]


def preview(spec: Spec, *, requests_per_s: float | None, error_rate: float | None, latency: Counts = NO_COUNTS) -> Preview:
    """requests_per_s: all traffic of the model now. error_rate: the champion's, 0 to 1; None: nothing known, taken as 0. latency: how long
    its answers take, if that is known: the latency guard's need is forecast from it."""
    if spec.champion is None:
        return _at_once(f"No version serves {spec.model} yet: version {spec.version} gets all traffic once it is ready.")
    if spec.strategy is Strategy.BLUE_GREEN or (len(spec.steps) == 1 and spec.auto is None):
        warm = f"version {spec.champion} stays warm for {spec.probation_s / 60:g} min."
        return _at_once(f"All traffic goes to version {spec.version} at once when it is ready; {warm}")
    rate = requests_per_s or None
    need = _Need(spec.policy, rate, error_rate or 0.0, latency)
    steps = _steps(spec, rate, need) if spec.auto is None else _shares(spec.auto, rate, need)
    refusal = _refusal(spec, steps, rate)
    total = sum(step.requests for step in steps)
    minutes = sum(step.minutes for step in steps if step.minutes is not None) if rate else None
    known = "no errors" if not error_rate else f"{100 * error_rate:.2g} % errors"
    sentences = [
        f"Step {step.index}, {step.weight_pct} %: {step.requests} requests{_time(step.minutes)}. {step.why}" for step in steps
    ]
    if rate and minutes is not None:
        sentences.append(
            f"About {_span(minutes)} at {rate:.3g} requests/s and {known} on version {spec.champion}, if it is healthy."
        )
    return Preview(steps, total, minutes, refusal, tuple(sentences))


def _at_once(sentence: str) -> Preview:
    return Preview((), 0, 0.0, None, (sentence,))


@dataclass(frozen=True, slots=True)
class _Need:
    """What the verdict `pass` takes of a healthy version: the longest of its guards."""

    policy: Policy
    rate: float | None
    error_rate: float
    latency: Counts

    def requests(self, share_pct: float) -> int:
        """Challenger requests in all at this share."""
        errors = forecast.requests_to_pass(self.policy, self.error_rate, share_pct)
        in_blocks_s = forecast.seconds_in_blocks(self.policy, self.error_rate, self.latency)
        in_blocks = round(in_blocks_s * (self.rate or 0.0) * share_pct / 100.0)
        return max(errors, in_blocks, forecast.latency_requests_to_pass(self.policy, self.latency, share_pct))


def _steps(spec: Spec, rate: float | None, need: _Need) -> tuple[PreviewStep, ...]:
    found: list[PreviewStep] = []
    seen = 0
    judged = spec.steps[:-1]
    for index, step in enumerate(judged, start=1):
        requests, why = step.requests, "No finding against it until then."
        if index == len(judged):
            to_pass = need.requests(step.weight_pct)
            requests = max(step.requests, to_pass - seen)
            why = f"Shown to be within the margin (about {to_pass} requests in all), then all traffic."
        seen += requests
        found.append(PreviewStep(index, step.weight_pct, requests, _minutes(step, requests, rate), why))
    return tuple(found)


def _shares(ramp: Ramp, rate: float | None, need: _Need) -> tuple[PreviewStep, ...]:
    """How the share of a healthy version rises, if its errors come as they should."""
    found: list[PreviewStep] = []
    share, seen = schedule.first(ramp, rate), 0
    while share.weight_pct < ramp.hold_pct and rate is not None:
        for seconds in _LOOKS:
            requests = round(seconds * rate * share.weight_pct / 100.0)
            excess = interval.rate(round((seen + requests) * need.error_rate), seen + requests, schedule.DOUBT)[1]
            risen = schedule.after(ramp, share.weight_pct, rate, excess)
            if risen.weight_pct > share.weight_pct:
                break
        seen += requests
        found.append(PreviewStep(len(found) + 1, share.weight_pct, requests, seconds / 60.0, "The budget allows more then."))
        if risen.weight_pct == share.weight_pct:
            return tuple(found)
        share = risen
    to_pass = need.requests(ramp.hold_pct)
    step = Step(ramp.hold_pct, max(1, to_pass - seen), ramp.bake_s)
    why = f"Shown to be within the margin (about {to_pass} requests in all) and baked for {_span(ramp.bake_s / 60)}, then all traffic."
    found.append(PreviewStep(len(found) + 1, ramp.hold_pct, step.requests, _minutes(step, step.requests, rate), why))
    return tuple(found)


def _minutes(step: Step, requests: int, rate: float | None) -> float | None:
    if rate is None:
        return None
    return max(step.min_s, requests / (rate * step.weight_pct / 100)) / 60


def _refusal(spec: Spec, steps: tuple[PreviewStep, ...], rate: float | None) -> str | None:
    if rate is None:
        return (
            f"No traffic was seen on {spec.model} lately, so no step could ever finish. "
            "Send it traffic, or use the strategy blue-green."
        )
    deadline_min = spec.policy.insufficient_deadline_s / 60
    for step in steps:
        assert step.minutes is not None
        least_s = spec.auto.bake_s if spec.auto else spec.steps[step.index - 1].min_s
        if step.minutes > max(deadline_min, least_s / 60):
            return (
                f"Step {step.index} ({step.weight_pct} %) needs about {_span(step.minutes)} at today's {rate:.3g} requests/s, "
                f"but the policy gives up after {_span(deadline_min)}. Use larger steps, fewer requests per step, a wider "
                "margin, or a longer insufficient_deadline_s."
            )
    return None


def _time(minutes: float | None) -> str:
    return "" if minutes is None else f", {_span(minutes)}"


def _span(minutes: float) -> str:
    if minutes < 1:
        return f"{max(1, round(minutes * 60))} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
