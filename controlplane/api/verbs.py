"""Routes of what people ask of a rollout. Nothing here acts: it is written down, answered with 202, and the loop obeys.

`accepted` and `view` are the answers, shared with `rollouts`.
"""

# ruff: noqa: FAST003  `_wish` takes the path parameter for all of them

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Path, Response

from rollout import commands, model

from . import admission, bodies, intents, schemas, views
from .callers import Call, Caller, Services
from .errors import documented
from .links import rollout_link

router = APIRouter(tags=["rollouts"])

Id = Annotated[str, Path(description="The rollout's id.", max_length=100)]
CHANGE = documented(400, 403, 404, 408, 409, 413, 415, 422, 503)


async def view(services: Services, rollout: model.Rollout) -> schemas.Rollout:
    return views.rollout(rollout, await services.store.record(rollout.spec.model))


async def accepted(services: Services, rollout: model.Rollout, response: Response) -> schemas.Rollout:
    response.headers["Location"] = rollout_link(rollout.id)
    return await view(services, rollout)


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks of one rollout."""

    services: Services
    call: Call
    rollout_id: str
    body: bodies.ReasonBody
    response: Response

    async def ask(self, command: intents.Command) -> schemas.Rollout:
        asked = await intents.ask(self.services, self.call, self.body, self.rollout_id, command)
        return await accepted(self.services, asked, self.response)

    async def start(self, spec: model.Spec) -> schemas.Rollout:
        made = await intents.start(self.services, self.call, self.body, spec)
        return await accepted(self.services, made, self.response)

    async def answered(self) -> schemas.Rollout | None:
        known = await intents.answered(self.services, self.call, self.body)
        return None if known is None else await accepted(self.services, known, self.response)

    async def rollout(self) -> tuple[model.Rollout, model.ModelRecord, model.Intent]:
        """The rollout, its model's record, and this wish as an intent."""
        rollout = await self.services.store.rollout(self.rollout_id)
        name = rollout.spec.model
        record = await self.services.store.record(name) or model.ModelRecord(name)
        return rollout, record, model.Intent(actor=self.call.actor, at=self.services.clock(), reason=self.body.reason)


def _wish(
    services: Services,
    call: Caller,
    rollout_id: Id,
    response: Response,
    body: Annotated[bodies.ReasonBody | None, Body()] = None,
) -> Wish:
    return Wish(services, call, rollout_id, body or bodies.ReasonBody(), response)


Asked = Annotated[Wish, Depends(_wish)]


@router.post("/rollouts/{rollout_id}/promote", status_code=202, summary="Promote without the judge", responses=CHANGE)
async def promote(wish: Asked) -> schemas.Rollout:
    """From a step to all traffic; from probation to the end."""
    return await wish.ask(commands.promote)


@router.post("/rollouts/{rollout_id}/pause", status_code=202, summary="Stop advancing", responses=CHANGE)
async def pause(wish: Asked) -> schemas.Rollout:
    """Keep the split as it is. The judge goes on and still rolls back a bad version."""
    return await wish.ask(commands.pause)


@router.post("/rollouts/{rollout_id}/resume", status_code=202, summary="Take a pause back", responses=CHANGE)
async def resume(wish: Asked) -> schemas.Rollout:
    """Go on where it stopped."""
    return await wish.ask(commands.resume)


@router.post("/rollouts/{rollout_id}/abort", status_code=202, summary="Take the version off the traffic now", responses=CHANGE)
async def abort(wish: Asked) -> schemas.Rollout:
    """Wins over everything, in every open phase. Asking twice is no error."""
    return await wish.ask(commands.abort)


@router.post("/rollouts/{rollout_id}/undo", status_code=202, summary="Go back to the champion before", responses=CHANGE)
async def undo(wish: Asked) -> schemas.Rollout:
    """In probation: at once, the old champion is still warm. After the end: as a new blue-green rollout, at `Location`."""
    known = await wish.answered()
    if known is not None:
        return known
    rollout, record, intent = await wish.rollout()
    if rollout.status.phase is not model.Phase.PROMOTED:
        return await wish.ask(commands.undo)
    # back to what served before: the registry is not asked, its being away must not keep a bad version on the traffic
    return await wish.start(commands.undo_spec(rollout, record, intent))


@router.post("/rollouts/{rollout_id}/retry", status_code=202, summary="The same again", responses=CHANGE)
async def retry(wish: Asked) -> schemas.Rollout:
    """A new rollout like this one, against today's champion, at `Location`."""
    known = await wish.answered()
    if known is not None:
        return known
    spec = commands.retry(*await wish.rollout())
    await admission.check_version(wish.services.registry, spec.model, spec.version)
    return await wish.start(spec)
