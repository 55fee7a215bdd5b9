"""Routes that judge a rollout again from what its judge was given: as numbers, and as a picture."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Path, Response

from rollout import model, ports, replay

from . import plot, schemas, views
from .callers import Services
from .errors import documented
from .verbs import Id

router = APIRouter(tags=["rollouts"])

LONGEST_S = 30.0  # of one replay: a day of readings takes about ten seconds


@router.post("/rollouts/{rollout_id}/replay", summary="Judge it again", responses=documented(404, 422, 503))
async def judge_again(
    services: Services, rollout_id: Id, body: Annotated[schemas.ReplayBody | None, Body()] = None
) -> schemas.Replay:
    """Every decision recomputed from the stored readings, by the rollout's own policy or another. Changes nothing."""
    shown, readings, found = await _replay(services, rollout_id, body or schemas.ReplayBody())
    return views.replayed(shown, readings, found)


@router.get(
    "/rollouts/{rollout_id}/plot.{format}",
    summary="The evidence over time, as a picture",
    responses=documented(404, 422, 503) | {200: {"content": {"image/svg+xml": {}, "image/png": {}}}},
    response_class=Response,
)
async def picture(
    services: Services,
    rollout_id: Id,
    picture_format: Annotated[Literal["svg", "png"], Path(alias="format")],
) -> Response:
    """Evidence of each guard against its threshold, the effect with its confidence interval, and the challenger's share."""
    shown, _, found = await _replay(services, rollout_id, schemas.ReplayBody())
    drawn = await asyncio.to_thread(plot.draw, shown, found, picture_format)
    return Response(drawn, media_type="image/svg+xml" if picture_format == "svg" else "image/png")


async def _replay(services: Services, rollout_id: str, body: schemas.ReplayBody) -> tuple[model.Rollout, int, replay.Replay]:
    shown = await services.store.rollout(rollout_id)
    readings = await services.store.readings(rollout_id)
    try:
        async with asyncio.timeout(LONGEST_S):
            found = await asyncio.to_thread(replay.replay, shown, readings, body.policy)
    except TimeoutError as error:
        raise ports.Unavailable("judge", f"the replay of {len(readings)} readings took more than {LONGEST_S:g} s") from error
    return shown, len(readings), found
