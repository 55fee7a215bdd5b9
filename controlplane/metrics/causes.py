"""PURE. Why a rollout is where it is, as one word of a closed set; the sentence is in its history."""

from __future__ import annotations

from enum import StrEnum

from judge.verdict import Label
from rollout import model


class Cause(StrEnum):
    NONE = "none"  # nothing was decided yet
    JUDGED = "judged"  # by the judge
    ASKED = "asked"  # by a person or program
    FIRST = "first"  # the model's first version, there was nothing to compare with
    START = "start"  # its replicas never became ready
    OTHER = "other"  # deadlines, and what the outside did


_OFF = frozenset({model.Phase.ROLLING_BACK, model.Phase.ROLLED_BACK, model.Phase.FAILED})
_ON = frozenset({model.Phase.PROMOTING, model.Phase.PROBATION, model.Phase.PROMOTED})

# How a rollout can end: outcome and cause.
ENDINGS: tuple[tuple[model.Phase, Cause], ...] = (
    *((model.Phase.PROMOTED, cause) for cause in (Cause.JUDGED, Cause.ASKED, Cause.FIRST, Cause.OTHER)),
    *((model.Phase.ROLLED_BACK, cause) for cause in (Cause.JUDGED, Cause.ASKED, Cause.OTHER)),
    *((model.Phase.FAILED, cause) for cause in (Cause.START, Cause.ASKED)),
)


def cause(rollout: model.Rollout) -> Cause:
    phase = rollout.status.phase
    if phase in _OFF:
        return _off(rollout)
    return _on(rollout) if phase in _ON else Cause.NONE


def _off(rollout: model.Rollout) -> Cause:
    if rollout.requests.abort or rollout.requests.undo:
        return Cause.ASKED
    if _says(rollout, Label.FAIL):
        return Cause.JUDGED
    return Cause.OTHER if rollout.status.had_traffic else Cause.START


def _on(rollout: model.Rollout) -> Cause:
    if rollout.requests.promote:
        return Cause.ASKED
    if rollout.spec.champion is None:
        return Cause.FIRST
    return Cause.JUDGED if _says(rollout, Label.PASS) else Cause.OTHER


def _says(rollout: model.Rollout, label: Label) -> bool:
    verdict = rollout.status.verdict
    return verdict is not None and verdict.label is label
