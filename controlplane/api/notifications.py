"""Routes of notifications: who is told, what is owed to whom, and what could not be delivered. Addresses are never shown: they are secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from controlplane.notifications.notifier import Notifier
from controlplane.notifications.outbox import Letter, Owed
from controlplane.notifications.receivers import Receiver
from rollout import events, ports

from . import schemas
from .callers import Services
from .errors import documented
from .links import PREFIX, next_link

router = APIRouter(prefix="/notifications", tags=["notifications"])

Id = Annotated[int, Path(ge=1, le=2**53)]
DEAD = f"{PREFIX}/notifications/dead"


class LastAttempt(schemas.View):
    at: datetime
    delivered: bool
    words: str


class ReceiverView(schemas.View):
    """A receiver, or one that is not configured any more and has dead letters left (`format` is null)."""

    name: str
    format: str | None
    address: Annotated[str | None, Field(description="As much of it as may be seen.")]
    events: tuple[events.Kind, ...]
    models: tuple[str, ...]
    waiting: int
    dead: int
    last: Annotated[LastAttempt | None, Field(description="Since the control plane was started.")]


class Receivers(schemas.View):
    receivers: tuple[ReceiverView, ...]


class DeadLetter(schemas.View):
    id: int
    receiver: str
    key: Annotated[str, Field(description="What it carries as Idempotency-Key.")]
    rollout: str
    model: str
    kind: events.Kind
    sentence: str
    at: Annotated[datetime, Field(description="When it happened.")]
    given_up_at: datetime
    attempts: int
    error: str


class DeadLetters(schemas.View):
    letters: tuple[DeadLetter, ...]
    next: str | None


class SendAgainBody(schemas.Body):
    """Which dead letters to send again."""

    receiver: Annotated[str | None, Field(max_length=40, description="Left out: those of every receiver.")] = None


class SentAgain(schemas.View):
    letters: Annotated[int, Field(description="How many are on their way again.")]


@router.get("", summary="Receivers of notifications", responses=documented(503))
async def receivers(services: Services) -> Receivers:
    """Who is told of rollouts, by name, with what is owed to each."""
    notifier = services.notifier
    if notifier is None:
        return Receivers(receivers=())
    owed = await notifier.owed()
    known = {one.name: one for one in notifier.receivers}
    return Receivers(
        receivers=tuple(_receiver(notifier, name, known.get(name), owed.get(name, Owed())) for name in sorted({*known, *owed}))
    )


@router.get("/dead", summary="List dead letters", responses=documented(422, 503))
async def dead(
    services: Services,
    receiver: Annotated[str | None, Query(max_length=40, description="Only those of this receiver.")] = None,
    before: Annotated[int | None, Query(ge=1, le=2**53, description="Only those before this id.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> DeadLetters:
    """What could not be delivered, newest first, kept for 30 days."""
    if services.notifier is None:
        return DeadLetters(letters=(), next=None)
    found = await services.notifier.dead(receiver=receiver, before=before, limit=limit)
    more = next_link(DEAD, receiver=receiver, before=found[-1].id, limit=limit) if len(found) == limit else None
    return DeadLetters(letters=tuple(map(_letter, found)), next=more)


@router.post(
    "/dead/resend", status_code=202, summary="Send dead letters again", responses=documented(400, 404, 413, 415, 422, 503)
)
async def resend_all(services: Services, body: SendAgainBody) -> SentAgain:
    """All of them, or those of one receiver. Each keeps its key, so a receiver that had it after all may know it."""
    notifier = _needed(services)
    if body.receiver is not None and body.receiver not in [one.name for one in notifier.receivers]:
        raise ports.NotFound("notifications", f"there is no receiver {body.receiver}")
    return SentAgain(letters=await notifier.send_again(receiver=body.receiver))


@router.post(
    "/dead/{letter_id}/resend", status_code=202, summary="Send a dead letter again", responses=documented(404, 422, 503)
)
async def resend(services: Services, letter_id: Id) -> SentAgain:
    """One letter, if its receiver is still configured."""
    many = await _needed(services).send_again(letter_id=letter_id)
    if not many:
        raise ports.NotFound("notifications", f"there is no dead letter {letter_id} of a receiver that is configured")
    return SentAgain(letters=many)


def _needed(services: Services) -> Notifier:
    if services.notifier is None:
        raise ports.NotFound("notifications", "there are no receivers; set SLIPWAY_NOTIFY_FILE")
    return services.notifier


def _receiver(notifier: Notifier, name: str, known: Receiver | None, owed: Owed) -> ReceiverView:
    last = notifier.last.get(name)
    return ReceiverView(
        name=name,
        format=known.format if known else None,
        address=known.shown if known else None,
        events=known.events if known else (),
        models=known.models if known else (),
        waiting=owed.waiting,
        dead=owed.dead,
        last=LastAttempt(at=last.at, delivered=last.delivered, words=last.words) if last else None,
    )


def _letter(letter: Letter) -> DeadLetter:
    event = letter.stored.event
    return DeadLetter(
        id=letter.id,
        receiver=letter.receiver,
        key=letter.key,
        rollout=event.rollout_id,
        model=event.model,
        kind=event.kind,
        sentence=event.sentence,
        at=event.at,
        given_up_at=letter.since,
        attempts=letter.attempts,
        error=letter.error,
    )
