"""The webhook for Alertmanager (version 4 of its format): the backstop that takes a challenger off the traffic.

Whoever calls must know the token. What was decided is in the history of the rollout, under the fingerprint and start of the alert, so the same
notification sent again, by Alertmanager or by anybody, does nothing more. A store that is away answers 503, and Alertmanager tries again.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from typing import Annotated, Literal

import pydantic
from fastapi import APIRouter, Depends, Header, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from controlplane import alerting
from controlplane.alerting import Decision
from rollout import commands, events, model, ports

from . import bodies, intents
from .callers import Call, Services
from .errors import documented

router = APIRouter(tags=["metrics"])

ACTOR = "alertmanager"
MAX_ALERTS = 1000  # of one notification

log = logging.getLogger(__name__)

Label = Annotated[str, Field(max_length=1000)]


class _Foreign(BaseModel):
    """Alertmanager's own format grows: what is not known is left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class AlertBody(_Foreign):
    status: Literal["firing", "resolved"]
    labels: Annotated[dict[Label, Label], Field(max_length=100)]
    startsAt: pydantic.AwareDatetime  # noqa: N815  Alertmanager's name
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-zA-Z]{1,64}$")]


class Notification(_Foreign):
    """https://prometheus.io/docs/alerting/latest/configuration/#webhook_config"""

    version: Literal["4"]
    alerts: Annotated[tuple[AlertBody, ...], Field(max_length=MAX_ALERTS)]


class Decided(BaseModel):
    """What was made of one alert, in the order in which they came."""

    fingerprint: str
    decision: Decision
    sentence: str
    rollout: str | None


def _authorized(services: Services, authorization: Annotated[str, Header(max_length=1000)] = "") -> None:
    if not services.alert_token:
        raise HTTPException(403, "the webhook is switched off; set SLIPWAY_ALERT_TOKEN to switch it on")
    expected = f"Bearer {services.alert_token}"
    if not hmac.compare_digest(authorization.encode(), expected.encode()):
        raise HTTPException(401, "send the header Authorization: Bearer TOKEN", headers={"WWW-Authenticate": "Bearer"})


@router.post(
    "/alerts",
    summary="Alertmanager's webhook",
    dependencies=[Depends(_authorized)],
    responses=documented(400, 401, 403, 408, 413, 415, 422, 503),
)
async def alerts(services: Services, body: Notification) -> tuple[Decided, ...]:
    """Takes a challenger off the traffic if a firing alert with the label `action=rollback` names it, once. Everything else is
    answered with 200 too, and why nothing was done."""
    return tuple([await _decided(services, each) for each in body.alerts])


async def _decided(services: Services, body: AlertBody) -> Decided:
    alert = alerting.Alert(body.status == "firing", body.labels, body.startsAt, body.fingerprint)
    decision, rollout_id = alerting.relevant(alert), None
    if decision is None:
        decision, rollout_id = await _weighed(services, alert)
    services.recorder.alerted(decision)
    sentence = alerting.SENTENCES[decision]
    log.info(
        "%s: %s", _named(alert), sentence, extra={"fingerprint": alert.fingerprint, "decision": decision, "rollout": rollout_id}
    )
    return Decided(fingerprint=alert.fingerprint, decision=decision, sentence=sentence, rollout=rollout_id)


async def _weighed(services: Services, alert: alerting.Alert) -> tuple[Decision, str | None]:
    """Decide, and write it down where the rollout's history is (or that of the model's last one)."""
    assert alert.about is not None, "asked only about relevant alerts"
    kind = "dry" if services.alert_dry_run else "live"
    start = alert.starts_at.isoformat()
    call = Call(
        path="alerts", actor=ACTOR, key=f"alert-{kind}-{hashlib.sha256(f'{alert.fingerprint} {start}'.encode()).hexdigest()}"
    )
    assert call.key is not None
    known = await services.store.recall(call.key)
    if known is not None:
        return Decision.REPEATED, known.rollout_id or None
    newest = await services.store.rollouts(alert.about[0], limit=1)  # the open one is always the newest
    if not newest:
        return Decision.NO_ROLLOUT, None
    rollout = newest[0]
    decision = alerting.decide(alert, rollout, services.clock(), dry_run=services.alert_dry_run)
    reason = bodies.ReasonBody(reason=f"{_named(alert)}, firing since {start}")
    if decision is Decision.OBEYED:
        try:
            await intents.ask(services, call, reason, rollout.id, commands.abort)
        except commands.NotNow:  # it was promoted for good while we looked
            decision = Decision.NO_ROLLOUT
        else:
            return decision, rollout.id
    await _write(services, call, rollout, reason, decision)
    return decision, rollout.id


async def _write(services: Services, call: Call, rollout: model.Rollout, reason: bodies.ReasonBody, decision: Decision) -> None:
    fact = events.Event(
        rollout_id=rollout.id,
        model=rollout.spec.model,
        at=services.clock(),
        kind=events.Kind.REQUESTED,
        sentence=f"{reason.reason}. {alerting.SENTENCES[decision]}",
        actor=call.actor,
        data={"decision": decision.value},
    )
    try:
        await services.store.save(None, None, [fact], idempotency=call.idempotency(reason, rollout.id))
    except ports.Stale:
        return  # the same notification came twice at once, and the other one wrote it down
    services.changes.publish(rollout.spec.model)


def _named(alert: alerting.Alert) -> str:
    about = alert.about
    return f"alert {alert.name}" + (f" about version {about[1]}" if about is not None else "")
