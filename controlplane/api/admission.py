"""Which rollouts may be recorded at all: from the body of a POST to a checked `model.Spec`, or a refusal that tells the fix.

Asks the registry and the store, writes nothing. Called for a start, a plan and a retry.
"""

from __future__ import annotations

import re

from rollout import model, ports

from . import bodies
from .errors import Unprocessable
from .services import Services

SERVABLE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


async def spec(services: Services, body: bodies.RolloutBody, actor: str) -> model.Spec:
    """The rollout that the body asks for, against today's champion."""
    if not SERVABLE.fullmatch(body.model):
        raise Unprocessable(
            "model",
            "the model's name becomes part of addresses, so it must be 1 to 63 small letters, digits and hyphens, "
            "beginning and ending with a letter or digit; register it under such a name",
        )
    if body.steps is not None and body.strategy is not model.Strategy.CANARY:
        raise Unprocessable("steps", f"{body.strategy.value} switches at once and has no steps; leave them out, or use canary")
    if body.auto is not None and body.strategy is not model.Strategy.CANARY:
        raise Unprocessable("auto", f"{body.strategy.value} switches at once and has no ramp; leave it out, or use canary")
    if body.auto is not None and body.steps is not None:
        raise Unprocessable("auto", "give either steps or auto: with auto the share follows the evidence")
    record = await services.store.record(body.model)
    made = model.Spec(
        model=body.model,
        version=body.version,
        champion=record.champion if record else None,
        strategy=body.strategy,
        steps=body.steps if body.steps is not None else model.DEFAULT_STEPS,
        auto=body.auto,
        policy=body.policy,
        replicas=body.replicas,
        start_deadline_s=body.start_deadline_s,
        probation_s=body.probation_s,
        actor=actor,
        note=body.note,
    )
    await check_version(services.registry, made.model, made.version)
    return made


async def check_version(registry: ports.Registry, name: str, version: int) -> None:
    """It is registered and says what input it takes."""
    try:
        known = await registry.version(name, version)
    except ports.NotFound as error:
        raise ports.NotFound("registry", await _what_exists(registry, name, version)) from error
    if not known.has_signature:
        raise Unprocessable(
            "version",
            f"version {version} of {name} was logged without a signature, or its MLmodel file is missing, so nobody can check its "
            "input; log it again with mlflow.<flavor>.log_model(..., signature=mlflow.models.infer_signature(X, model.predict(X))) "
            "and register that",
        )


async def _what_exists(registry: ports.Registry, name: str, version: int) -> str:
    try:
        newest = [str(known.version) for known in await registry.versions(name)][:5]
    except ports.NotFound:
        newest = []
        names = sorted(await registry.models())
        if name not in names:
            there = f"registered are {', '.join(names[:10])}" if names else "none is registered yet"
            return f"there is no model {name}; {there}"
    exists = f"the newest are {', '.join(newest)}" if newest else "it has none yet"
    return f"{name} has no version {version}; {exists}"
