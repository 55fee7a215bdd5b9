"""Writes down what people ask for: a new rollout, or a request to a running one. The loop does the rest.

Each write carries its event and, if given, its idempotency key in one transaction; then the loop and the watchers are told.
Called by the routes. Must never act on the outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pydantic

from rollout import commands, events, model, ports

from . import bodies
from .callers import Call
from .errors import Unprocessable
from .services import Services

Command = Callable[[model.Rollout, model.Intent], model.Rollout]

ATTEMPTS = 5  # of read, change, compare-and-swap; losing five times in a row means a writer runs wild


async def answered(services: Services, call: Call, body: pydantic.BaseModel) -> model.Rollout | None:
    """The rollout that this very call led to before, if it was made before."""
    asked = call.idempotency(body)
    known = None if asked is None else await services.store.recall(asked.key)
    if asked is None or known is None:
        return None
    if known.fingerprint != asked.fingerprint:
        raise Unprocessable("header.Idempotency-Key", "this key came with another request before; use a new key for a new wish")
    return await services.store.rollout(known.rollout_id)


async def start(services: Services, call: Call, body: pydantic.BaseModel, spec: model.Spec) -> model.Rollout:
    """Record a new rollout. Raises AlreadyOpen."""
    now = services.clock()
    made = commands.new_rollout(spec, services.new_id(), now)
    fact = events.Event(
        rollout_id=made.id,
        model=spec.model,
        at=now,
        kind=events.Kind.CREATED,
        sentence=_created(spec),
        actor=spec.actor,
        data={"version": spec.version, "champion": spec.champion, "strategy": spec.strategy.value},
    )
    try:
        await services.store.create(made, [fact], idempotency=call.idempotency(body, made.id))
    except (ports.AlreadyOpen, ports.Stale):
        twin = await answered(services, call, body)  # the same call may have won the race
        if twin is None:
            raise
        return twin
    await _tell(services, spec.model)
    return replace(made, revision=1)


async def ask(services: Services, call: Call, body: bodies.ReasonBody, rollout_id: str, command: Command) -> model.Rollout:
    """Record a request to a rollout. Raises NotFound, NotNow, or Stale after losing to other writers five times."""
    for attempt in range(1, ATTEMPTS + 1):
        known = await answered(services, call, body)
        if known is not None:
            return known
        rollout = await services.store.rollout(rollout_id)
        now = services.clock()
        asked = command(rollout, model.Intent(actor=call.actor, at=now, reason=body.reason))
        key = call.idempotency(body, rollout.id)
        if asked is rollout and key is None:  # asked before: nothing to write, and the loop may look again
            await _tell(services, rollout.spec.model)
            return rollout
        facts = [] if asked is rollout else [_requested(rollout, call.actor, command.__name__, body.reason, now=now)]
        try:
            await services.store.save(asked if facts else None, None, facts, idempotency=key)
        except ports.Stale:
            if attempt == ATTEMPTS:
                raise
            continue
        await _tell(services, rollout.spec.model)
        return replace(asked, revision=asked.revision + 1) if facts else rollout
    raise AssertionError("the last attempt returns or raises")


async def _tell(services: Services, model_name: str) -> None:
    services.wake(model_name)
    services.changes.publish(model_name)
    await asyncio.sleep(0)  # the loop goes first: traffic before the answer


def _created(spec: model.Spec) -> str:
    against = f"against champion {spec.champion}" if spec.champion is not None else "as the first version"
    said = f"{spec.actor} asked for a {spec.strategy.value} of version {spec.version} {against}"
    if spec.undo_of:
        said += f", to undo rollout {spec.undo_of}"
    if spec.retry_of:
        said += f", to retry rollout {spec.retry_of}"
    return f"{said}: {spec.note}" if spec.note else f"{said}."


def _requested(rollout: model.Rollout, actor: str, verb: str, reason: str, *, now: datetime) -> events.Event:
    said = f"{actor} asked to {verb}"
    return events.Event(
        rollout_id=rollout.id,
        model=rollout.spec.model,
        at=now,
        kind=events.Kind.REQUESTED,
        sentence=f"{said}: {reason}" if reason else f"{said}.",
        actor=actor,
        data={"verb": verb, "reason": reason},
    )
