"""PURE. What an alert may do to a rollout: take the current challenger off the traffic, and nothing else.

Called by `api.alerts`, which reads the store and writes the decision down. The judge decides on rollouts; alerts are the backstop. So an
alert that is not clearly about this rollout does nothing, and none ever moves a rollout forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from monitoring import names
from rollout import commands, model

SKEW = timedelta(seconds=5)  # between Prometheus' clock and ours
OLDEST = timedelta(hours=1)  # a notification that is older was kept by somebody and sent again

ACTION, ROLLBACK = "action", "rollback"  # the label by which a rule asks for it


class Decision(StrEnum):
    OBEYED = "obeyed"  # the challenger goes off the traffic
    DRY_RUN = "dry_run"  # it would have gone
    RESOLVED = "resolved"  # nothing is ever taken back because an alert ended
    NOT_MEANT = "not_meant"  # it does not ask for a rollback, or names no version
    NO_ROLLOUT = "no_rollout"  # the model has none open
    NOT_CHALLENGER = "not_challenger"  # another version than the one on trial
    STALE = "stale"  # it began before the rollout, or is too old
    NO_TARGET = "no_target"  # there is no version to go back to
    LEAVING = "leaving"  # it is on its way off already
    REPEATED = "repeated"  # this very alert was decided on before


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of Alertmanager. The same alert keeps its fingerprint and its start for as long as it fires."""

    firing: bool
    labels: Mapping[str, str]
    starts_at: datetime
    fingerprint: str

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "without a name")[:100]

    @property
    def about(self) -> tuple[str, int] | None:
        """The model and the version that shall be rolled back."""
        model_name, version = self.labels.get(names.MODEL, ""), self.labels.get(names.VERSION, "")
        if self.labels.get(ACTION) != ROLLBACK or not model_name or not (version.isascii() and version.isdigit()):
            return None
        return model_name, int(version[:10])


def relevant(alert: Alert) -> Decision | None:
    """Without looking at any rollout: why the alert asks for nothing. None: it does."""
    if not alert.firing:
        return Decision.RESOLVED
    return Decision.NOT_MEANT if alert.about is None else None


def decide(alert: Alert, rollout: model.Rollout | None, now: datetime, *, dry_run: bool) -> Decision:
    """About a relevant alert and the open rollout of its model, if there is one."""
    if rollout is None or not rollout.open:
        return Decision.NO_ROLLOUT
    assert alert.about is not None, "only relevant alerts are decided on"
    if alert.about[1] != rollout.spec.version:
        return Decision.NOT_CHALLENGER
    too_early = alert.starts_at < rollout.created_at - SKEW
    if too_early or not now - OLDEST <= alert.starts_at <= now + SKEW:
        return Decision.STALE
    if rollout.spec.champion is None:
        return Decision.NO_TARGET
    if commands.leaving(rollout):
        return Decision.LEAVING
    return Decision.DRY_RUN if dry_run else Decision.OBEYED


SENTENCES: Mapping[Decision, str] = {
    Decision.OBEYED: "The challenger goes off the traffic.",
    Decision.DRY_RUN: "A dry run: nothing is done.",
    Decision.RESOLVED: "An alert that ends takes nothing back.",
    Decision.NOT_MEANT: f"It has not the label {ACTION}={ROLLBACK}, a model and a version: nothing is done.",
    Decision.NO_ROLLOUT: "The model has no open rollout: nothing is done.",
    Decision.NOT_CHALLENGER: "It is not about the version on trial: nothing is done.",
    Decision.STALE: "It began before this rollout, or its time is not of this hour: nothing is done.",
    Decision.NO_TARGET: "There is no version to go back to: nothing is done.",
    Decision.LEAVING: "The challenger is on its way off the traffic already.",
    Decision.REPEATED: "It was decided on before: nothing is done again.",
}
