"""Is the challenger worse than the champion was? For times without concurrent champion traffic."""

from __future__ import annotations

from . import decide
from .evidence import State
from .policy import Policy
from .samples import Sample
from .verdict import Verdict


def decide_alone(
    policy: Policy,
    state: State,
    samples: tuple[Sample, ...] | None,
    *,
    champion: int,
    challenger: int,
    blind_reason: str = "",
) -> tuple[State, Verdict]:
    """Fold the new windows in and compare the challenger with the champion's past."""
    return decide.decide(policy, state, samples, champion=champion, challenger=challenger, blind_reason=blind_reason)


def observe_baseline(state: State, samples: tuple[Sample, ...], champion: int) -> State:
    """Fold champion traffic into the baseline while there is no challenger to judge yet."""
    return state
