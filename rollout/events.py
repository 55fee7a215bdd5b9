"""The facts of a rollout's history: append-only, one sentence each, written in the transaction that makes them true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    CREATED = "created"
    REQUESTED = "requested"  # a person or program asked for something
    PHASE = "phase"
    STEP = "step"
    HOLD = "hold"
    RELEASED = "released"  # a hold ended
    SELF_CHECK = "self_check"  # the judge was tried on the champion's own past
    VERDICT = "verdict"  # the judge's label changed
    ALIAS = "alias"
    ENDED = "ended"
    DRIFT = "drift"  # the verdict on a version's drift changed, and nobody has to hurry; of no rollout
    DRIFT_ALARM = "drift_alarm"  # it changed to harmful drift or broken data


@dataclass(frozen=True, slots=True)
class Event:
    """One fact. `data` is small JSON for machines; `sentence` is for people."""

    rollout_id: str
    model: str
    at: datetime
    kind: Kind
    sentence: str
    actor: str = "slipway"
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stored:
    """An event with its place in the history of everything."""

    seq: int
    event: Event
