"""Is the challenger worse than the champion beside it? The judge's main call."""

from __future__ import annotations

from math import log10

from .evidence import State
from .policy import Policy
from .samples import Sample
from .verdict import Effect, Finding, Label, Verdict

NAME = "slipway-judge/1"


def decide(
    policy: Policy,
    state: State,
    samples: tuple[Sample, ...] | None,
    *,
    champion: int,
    challenger: int,
    blind_reason: str = "",
) -> tuple[State, Verdict]:
    """Fold the new windows in and say what is known now."""
    label = Label.BLIND if samples is None else Label.INSUFFICIENT
    finding = Finding(
        guard="error_rate",
        label=label,
        sentence=blind_reason or f"Not enough requests yet to compare version {challenger} with version {champion}.",
        effect=Effect(None, None, None),
        evidence=0.0,
        threshold=-log10(policy.alpha),
        promotion_evidence=0.0,
        promotion_threshold=-log10(policy.beta),
        p_value=1.0,
        champion_requests=0,
        champion_errors=0,
        challenger_requests=0,
        challenger_errors=0,
    )
    return state, Verdict(NAME, label, (finding,))
