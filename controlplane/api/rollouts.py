"""Routes of rollouts: plan, start, list, look at, follow. What is asked of a running one is in `verbs`."""

# ruff: noqa: FAST003  `watch` takes the path parameter for its route

from __future__ import annotations

import asyncio
import zlib
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from judge import selfcheck
from judge.policy import Mode
from rollout import model, preview

from . import admission, bodies, intents, schemas, views, watch
from .callers import Caller, Services
from .errors import documented
from .links import next_link
from .verbs import CHANGE, Id, accepted, view

router = APIRouter(tags=["rollouts"])

After = Annotated[int, Query(ge=0, le=2**53, description="Only what came after this sequence number.")]
Limit = Annotated[int, Query(ge=1, le=1000)]
READ = documented(404, 422, 503)


@router.post("/rollouts", status_code=202, summary="Start a rollout", responses=CHANGE)
async def start(services: Services, call: Caller, body: bodies.RolloutBody, response: Response) -> schemas.Rollout:
    """Record a rollout of a version; the loop takes it up at once. `Location` is its address."""
    made = await intents.answered(services, call, body)
    if made is None:
        made = await intents.start(services, call, body, await admission.spec(services, body, call.actor))
    return await accepted(services, made, response)


@router.post("/rollouts/plan", summary="What a rollout would need", responses=CHANGE)
async def plan(services: Services, call: Caller, body: bodies.RolloutBody) -> schemas.Plan:
    """The same checks as a start and a forecast at today's traffic: requests and minutes per step, and a refusal with the fix
    when it could not finish. Records nothing."""
    spec = await admission.spec(services, body, call.actor)
    going = await services.store.open_rollout(spec.model)
    traffic = services.traffic(spec.model)
    champion = next((each for each in traffic.versions if each.version == spec.champion and each.requests), None)
    error_rate = champion.errors / champion.requests if champion else None
    latency = services.latency(spec.model, spec.champion) if spec.champion is not None else ()
    checked = await _checked(services, spec)
    judged = replace(spec, policy=selfcheck.applied(spec.policy, checked))
    found = preview.preview(judged, requests_per_s=traffic.requests_per_s, error_rate=error_rate, latency=latency)
    bursts = (checked.sentence,) if checked is not None and judged.policy.error_rate.mode is Mode.BLOCK else ()
    return schemas.Plan(
        model=spec.model,
        version=spec.version,
        champion=spec.champion,
        strategy=spec.strategy,
        steps=found.steps,
        total_requests=found.total_requests,
        total_minutes=found.total_minutes,
        refusal=found.refusal,
        sentences=(*found.sentences, *bursts),
        traffic=traffic,
        open_rollout=going.id if going else None,
    )


async def _checked(services: Services, spec: model.Spec) -> selfcheck.SelfCheck | None:
    """What the self-check would find now; None: none would be made. In a thread: it may take a tenth of a second."""
    if services.history is None or spec.champion is None or spec.strategy is not model.Strategy.CANARY:
        return None
    readings = await services.history.readings(spec.model, spec.champion, services.clock())
    return await asyncio.to_thread(selfcheck.check, spec.policy, readings, seed=zlib.crc32(spec.model.encode()))


@router.get("/rollouts", summary="List rollouts", responses=READ)
async def rollouts(
    *,
    services: Services,
    request: Request,
    of: Annotated[str | None, Query(alias="model", description="Only of this model.", max_length=250)] = None,
    open_only: Annotated[bool, Query(alias="open", description="Only those still going on.")] = False,
    limit: Limit = 100,
    before: Annotated[str | None, Query(description="Only older than the rollout with this id.", max_length=100)] = None,
) -> schemas.Rollouts:
    """Newest first."""
    page = await services.store.rollouts(of, open_only=open_only, limit=limit, before=before)
    records = {record.model: record for record in await services.store.records()}
    more = None
    if len(page) == limit:
        more = next_link(request.url.path, model=of, open=open_only, limit=limit, before=page[-1].id)
    return schemas.Rollouts(rollouts=tuple(views.rollout(each, records.get(each.spec.model)) for each in page), next=more)


@router.get("/rollouts/{rollout_id}", summary="Show a rollout", responses=READ)
async def show(services: Services, rollout_id: Id) -> schemas.Rollout:
    return await view(services, await services.store.rollout(rollout_id))


@router.get("/rollouts/{rollout_id}/events", summary="History of a rollout", responses=READ)
async def history(
    services: Services, request: Request, rollout_id: Id, after: After = 0, limit: Limit = 1000
) -> schemas.History:
    """The append-only facts, oldest first."""
    await services.store.rollout(rollout_id)
    page = await services.store.events(rollout_id=rollout_id, after=after, limit=limit)
    return views.history(tuple(page), request.url.path, limit)


@router.get("/rollouts/{rollout_id}/explain", summary="Why it is where it is", responses=READ)
async def explain(services: Services, rollout_id: Id) -> schemas.Explanation:
    """The verdict with its evidence and thresholds, the policy it is judged by, and what holds it."""
    return views.explanation(await services.store.rollout(rollout_id))


@router.get(
    "/rollouts/{rollout_id}/watch",
    summary="Follow a rollout",
    response_class=StreamingResponse,
    responses=READ
    | {200: {"description": watch.DESCRIPTION, "content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def follow(
    services: Services, watching: watch.Watching, last_event_id: watch.LastEventId = None, after: After = 0
) -> StreamingResponse:
    """Server-sent events until the rollout has ended."""
    stream = watch.stream(services, watching, after if last_event_id is None else last_event_id)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
