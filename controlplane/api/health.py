"""Is the process alive, and can it do its work? Asked by supervisors, load balancers and `slipway up`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from rollout import model, ports

from .callers import Services
from .schemas import View

router = APIRouter(tags=["health"])

ANSWER_S = 2.0  # probes give up after a few seconds


class Part(View):
    state: Annotated[str, Field(description="ok, away, or (of the loop) failing")]
    reason: str | None


class Health(View):
    status: str
    version: str


class Readiness(View):
    """Ready as long as the store answers; the other parts only degrade what is possible."""

    ready: bool
    store: Part
    registry: Part
    gateway: Part
    loop: Part


@router.get("/healthz", summary="Alive")
async def healthz(services: Services) -> Health:
    return Health(status="ok", version=services.version)


@router.get("/readyz", summary="Ready", responses={503: {"model": Readiness}})
async def readyz(services: Services, response: Response) -> Readiness:
    """Ready while the store answers. Without the registry or a gateway what is served goes on being served, and rollouts
    hold; so these are told, but make nothing unready."""
    store, registry, gateway = await asyncio.gather(
        _part(services.store.record("")), _part(services.registry.models()), _part(_connected(services.gateway))
    )
    ready = store.state == "ok"
    response.status_code = 200 if ready else 503
    loop = _loop(services.failures())
    return Readiness(ready=ready, store=store, registry=registry, gateway=gateway, loop=loop)


def _loop(failures: Mapping[str, str]) -> Part:
    """A pass that breaks is tried again with back-off and stops no other model; but it is a defect, and somebody should know."""
    if not failures:
        return Part(state="ok", reason=None)
    return Part(state="failing", reason="; ".join(f"{name}: {why}" for name, why in sorted(failures.items())[:10]))


async def _part(question: Awaitable[object]) -> Part:
    try:
        async with asyncio.timeout(ANSWER_S):
            await question
    except ports.PortError as error:
        return Part(state="away", reason=str(error))
    except TimeoutError:
        return Part(state="away", reason=f"no answer within {ANSWER_S:.0f} s")
    return Part(state="ok", reason=None)


async def _connected(gateway: ports.Gateway) -> None:
    state = await gateway.state("")
    if state.ack is model.Ack.AWAY or not state.nodes:
        raise ports.Unavailable("gateway", "no gateway is connected")
