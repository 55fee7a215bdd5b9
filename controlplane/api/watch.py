"""A rollout as a stream of server-sent events: every fact and every change of state, until it has ended.

Called by the watch route. Waits for `Broadcast`, so it costs nothing between changes; each heartbeat also looks once, so
that a change nobody told of is seen all the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

import pydantic
from fastapi import Depends, Header

from controlplane import broadcast
from rollout import model, ports

from . import schemas, views
from .callers import Services
from .verbs import Id

PAGE = 1000

LastEventId = Annotated[
    int | None, Header(ge=0, le=2**53, description="The id of the last event that was seen; the stream goes on behind it.")
]

DESCRIPTION = """Server-sent events:

- `state`: the rollout as `GET /rollouts/{id}` shows it; once at the beginning, then after each change
- `event`: one fact of its history, with its sequence number as `id`; from the first one, or behind `Last-Event-ID` / `after`
- `end`: `{"outcome": ...}`, the last message; close the connection, or a browser connects again
- `error`: a problem; the stream ends, connect again with `Last-Event-ID`

Comment lines (`:`) are heartbeats.
"""


class End(schemas.View):
    outcome: model.Phase


@dataclass(frozen=True, slots=True)
class Watched:
    """A rollout and the place among those who are told of its changes."""

    rollout: model.Rollout
    changes: broadcast.Subscription


async def _watched(services: Services, rollout_id: Id) -> AsyncIterator[Watched]:
    """Before the answer begins, so that refusals have their status; left when it has ended, however it ended."""
    rollout = await services.store.rollout(rollout_id)
    with services.changes.subscribe(rollout.spec.model) as changes:
        yield Watched(rollout, changes)


Watching = Annotated[Watched, Depends(_watched)]


async def stream(services: Services, watched: Watched, after: int) -> AsyncIterator[str]:
    rollout, changes = watched.rollout, watched.changes
    shown = ""
    while not changes.closed:
        try:
            rollout = await services.store.rollout(rollout.id)
            state = views.rollout(rollout, await services.store.record(rollout.spec.model))
            # read after the state: a state is never shown before the facts that led to it, but for the first
            facts = await services.store.events(rollout_id=rollout.id, after=after, limit=PAGE)
        except ports.PortError as error:
            yield _message("error", _problem(error, rollout.id))
            return
        text = state.model_dump_json()
        if not shown:
            yield _message("state", text)
            shown = text
        for fact in facts:
            yield _message("event", views.event(fact).model_dump_json(), fact.seq)
            after = fact.seq
        if len(facts) == PAGE:
            continue
        if text != shown:
            yield _message("state", text)
            shown = text
        if not rollout.open:
            yield _message("end", End(outcome=rollout.status.phase).model_dump_json())
            return
        if not await changes.wait(services.heartbeat_s):
            yield ": still here\n\n"


def _message(kind: str, data: str, seq: int | None = None) -> str:
    """JSON has no line breaks, so one data line is enough."""
    head = "" if seq is None else f"id: {seq}\n"
    return f"{head}event: {kind}\ndata: {data}\n\n"


def _problem(error: ports.PortError, rollout_id: str) -> str:
    detail = f"{error.system}: {error}"
    problem: pydantic.BaseModel = schemas.Problem(
        type="urn:slipway:problem:unavailable",
        title="A part that is needed does not answer",
        status=503,
        detail=detail,
        instance=rollout_id,
    )
    return problem.model_dump_json()
