"""Actions onto ports, in order, stopping at the first failure; the next pass plans again from what it then sees.

Called by the pass, after the save. Every call is idempotent. Calls that may take time (the registry's) are given up when
somebody asks for a rollback in the meantime.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from rollout import model, plan, ports

from .observe import Ports


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done. `told`: the outbox note was delivered (or will never be). `failure`: why the rest was left."""

    actions: int = 0
    told: bool = False
    failure: str | None = None
    interrupted: bool = False


async def apply(
    actions: tuple[plan.Action, ...],
    outside: Ports,
    *,
    drain_s: float,
    interrupt: asyncio.Event,
    traced: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> Applied:
    """`traced` is put around each action, with its name."""
    told = False
    for done, action in enumerate(actions):
        try:
            with traced(type(action).__name__.lower()):
                finished = await _one(action, outside, drain_s, interrupt)
            if not finished:
                return Applied(done, told=told, interrupted=True)
        except ports.Refused as error:
            if not isinstance(action, plan.Tell):
                return Applied(done, told=told, failure=f"{error.system} refused: {error}")
            told = True  # it will never take it, say a version that was deleted: drop the note
            continue
        except ports.Unavailable as error:
            return Applied(done, told=told, failure=f"{error.system} is not available: {error}")
        told = told or isinstance(action, plan.Tell)
    return Applied(len(actions), told=told)


async def _one(action: plan.Action, outside: Ports, drain_s: float, interrupt: asyncio.Event) -> bool:
    """False: given up because of `interrupt`."""
    match action:
        case plan.Publish(routing):
            await outside.gateway.publish(routing)
        case plan.Withdraw(model_name):
            await outside.gateway.withdraw(model_name)
        case plan.Ensure(model_name, version, replicas):
            await outside.runtime.ensure(model_name, version, replicas)
        case plan.Stop(model_name, version):
            await outside.runtime.stop(model_name, version, drain_s)
        case plan.PointAlias(model_name, alias, version):
            return await unless(interrupt, outside.registry.set_alias(model_name, alias, version))
        case plan.Tell(model_name, note):
            return await unless(interrupt, _tell(outside.registry, model_name, note))
    return True


async def _tell(registry: ports.Registry, model_name: str, note: model.RegistryNote) -> None:
    if note.alias is not None:
        await registry.set_alias(model_name, note.alias, note.version)
    if note.tags and note.version is not None:
        await registry.tag(model_name, note.version, dict(note.tags))


async def unless(interrupt: asyncio.Event, work: Awaitable[object]) -> bool:
    """Wait for the work unless interrupted first. True: the work is done; its exception is raised."""
    task = asyncio.ensure_future(work)
    stop = asyncio.ensure_future(interrupt.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
            return True
        return False
    finally:
        for pending in (task, stop):
            pending.cancel()
