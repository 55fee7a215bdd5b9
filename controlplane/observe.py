"""One look at the world for one model: each part asked at once, bounded in time, its failure recorded as Unknown.

Called by the pass. Never decides, never guesses, never raises for what the outside does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from judge.samples import Sample
from rollout import commands, judging, machine, model, ports

T = TypeVar("T")

ALIAS_EVERY_S = 10.0  # on probation nothing waits for the alias; while it is being moved it is read at every look


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside, as the loop sees it."""

    store: ports.Store
    registry: ports.Registry
    gateway: ports.Gateway
    runtime: ports.Runtime
    answers: ports.Answers | None = None  # None: nobody counts them


class Observer:
    """drift: why the data of this version of a model raise an alarm now; empty: they do not."""

    def __init__(
        self,
        outside: Ports,
        *,
        clock: Callable[[], datetime],
        timeout_s: float,
        drift: Callable[[str, int], str] = lambda *_: "",
    ) -> None:
        self._outside = outside
        self._drift = drift
        self._clock = clock
        self._timeout_s = timeout_s
        self._alias_read_at: dict[str, datetime] = {}

    async def observe(self, record: model.ModelRecord, rollout: model.Rollout | None) -> model.Observed:
        """Everything this pass needs. A rollout on its urgent way out waits for nothing but the gateway's own memory."""
        gateway = await self._outside.gateway.state(record.model)
        if rollout is not None and commands.urgent(rollout):
            return model.Observed(now=self._clock(), gateway=gateway)
        (deployments, answers), samples, alias = await asyncio.gather(
            self._replicas(record, rollout),
            self._samples(record),
            self._alias(record.model, rollout),
        )
        return model.Observed(
            now=self._clock(),
            deployments=deployments,
            gateway=gateway,
            samples=samples,
            answers=answers,
            alias=alias,
            drift=self._drift(record.model, rollout.spec.version) if rollout is not None else "",
        )

    async def _replicas(
        self, record: model.ModelRecord, rollout: model.Rollout | None
    ) -> tuple[tuple[model.Deployment, ...] | model.Unknown, tuple[Sample, ...] | model.Unknown]:
        """Who runs, and what was answered there if the policy asks."""
        deployments = await self._known("runtime", lambda: self._outside.runtime.deployments(record.model))
        reader = self._outside.answers
        if rollout is None or not judging.wants_answers(rollout):
            return deployments, model.Unknown("not asked")
        if reader is None:
            return deployments, model.Unknown("nobody counts answers here")
        if isinstance(deployments, model.Unknown):
            return deployments, deployments
        ready = {each.version: each.endpoints for each in deployments}
        sides = {side: ready.get(side, ()) for side in (rollout.spec.champion, rollout.spec.version) if side is not None}
        return deployments, await self._known("replicas", lambda: reader.samples(sides))

    async def _samples(self, record: model.ModelRecord) -> tuple[Sample, ...] | model.Unknown:
        if record.split is None:
            return model.Unknown("no traffic is routed")
        return await self._known("gateway", lambda: self._outside.gateway.samples(record.model))

    async def _alias(self, model_name: str, rollout: model.Rollout | None) -> int | model.Unknown | None:
        if rollout is None:
            return model.Unknown("not asked")
        phase, now = rollout.status.phase, self._clock()
        moving = phase is model.Phase.PROMOTING or (phase is model.Phase.ROLLING_BACK and rollout.status.alias_moved)
        last = self._alias_read_at.get(model_name)
        due = last is None or (now - last).total_seconds() >= ALIAS_EVERY_S
        if not moving and not (phase is model.Phase.PROBATION and due):
            return model.Unknown("not asked")
        self._alias_read_at[model_name] = now
        return await self._known("registry", lambda: self._outside.registry.alias(model_name, machine.CHAMPION))

    async def _known(self, system: str, ask: Callable[[], Awaitable[T]]) -> T | model.Unknown:
        """Asked only once this runs: an interrupted look may never come to it."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await ask()
        except TimeoutError:
            return model.Unknown(f"the {system} did not answer within {self._timeout_s:g} s")
        except ports.PortError as error:
            return model.Unknown(f"{error.system}: {error}")
