"""Routes that judge a rollout again from what its judge was given: as numbers, and as a picture."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Path, Response
from pydantic import ConfigDict, Field

from judge import verdict as verdicts
from rollout import model, ports, replay

from . import bodies, plot, schemas, views
from .callers import Services
from .errors import documented
from .verbs import Id

router = APIRouter(tags=["rollouts"])

MOST_LOOKS = 1000  # in one answer
LONGEST_S = 30.0  # of one replay: a day of readings takes about ten seconds


class ReplayBody(schemas.Body):
    """By which rules to judge again. The whole body may be left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"policy": {"alpha": 0.05}}]})

    policy: Annotated[bodies.Policy | None, Field(description="Left out: the rollout's own, to see that it reproduces.")] = None


class ReplayedGuard(schemas.View):
    """One guard after one reading; numbers as in a finding."""

    guard: str
    label: verdicts.Label
    evidence: float
    threshold: float
    promotion_evidence: float
    promotion_threshold: float
    effect: verdicts.Effect


class ReplayedLook(schemas.View):
    at: datetime
    phase: model.Phase
    share_pct: Annotated[float | None, Field(description="The challenger's part of the requests that came with this reading.")]
    label: verdicts.Label
    evidence: float
    threshold: float
    guards: tuple[ReplayedGuard, ...]


class Replay(schemas.View):
    """The rollout judged again from what its judge was given."""

    rollout: str
    readings: int
    reproduced: Annotated[
        bool | None,
        Field(description="The evidence is bit for bit what is stored. Null: another policy was asked, or nothing was judged."),
    ]
    sentence: str
    failed_at: datetime | None
    passed_at: datetime | None
    verdict: schemas.Verdict | None
    looks: Annotated[tuple[ReplayedLook, ...], Field(description="Oldest first; of a long rollout every n-th.")]


@router.post("/rollouts/{rollout_id}/replay", summary="Judge it again", responses=documented(404, 422, 503))
async def judge_again(services: Services, rollout_id: Id, body: Annotated[ReplayBody | None, Body()] = None) -> Replay:
    """Every decision recomputed from the stored readings, by the rollout's own policy or another. Changes nothing."""
    shown, readings, found = await _replay(services, rollout_id, body or ReplayBody())
    return _replayed(shown, readings, found)


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
    shown, _, found = await _replay(services, rollout_id, ReplayBody())
    drawn = await asyncio.to_thread(plot.draw, shown, found, picture_format)
    return Response(drawn, media_type="image/svg+xml" if picture_format == "svg" else "image/png")


async def _replay(services: Services, rollout_id: str, body: ReplayBody) -> tuple[model.Rollout, int, replay.Replay]:
    shown = await services.store.rollout(rollout_id)
    readings = await services.store.readings(rollout_id)
    try:
        async with asyncio.timeout(LONGEST_S):
            found = await asyncio.to_thread(replay.replay, shown, readings, body.policy)
    except TimeoutError as error:
        raise ports.Unavailable("judge", f"the replay of {len(readings)} readings took more than {LONGEST_S:g} s") from error
    return shown, len(readings), found


def _replayed(shown: model.Rollout, readings: int, found: replay.Replay) -> Replay:
    every = max(1, -(-len(found.looks) // MOST_LOOKS))
    kept = [look for number, look in enumerate(reversed(found.looks)) if number % every == 0][::-1]
    return Replay(
        rollout=shown.id,
        readings=readings,
        reproduced=found.same,
        sentence=_sentence(shown, found),
        failed_at=found.failed.at if found.failed else None,
        passed_at=found.passed.at if found.passed else None,
        verdict=views.verdict(found.looks[-1].verdict) if found.looks else None,
        looks=tuple(_look(look) for look in kept),
    )


def _sentence(shown: model.Rollout, found: replay.Replay) -> str:
    """What the replay says, beside what happened."""
    if not found.looks:
        return "Nothing was judged: there are no readings with a challenger."
    happened = f"It was {shown.status.phase.value.replace('_', ' ')}" + (
        f", decided at {shown.status.decided_at:%H:%M:%S}" if shown.status.decided_at else ""
    )
    if found.failed:
        said = f"This policy would have rolled it back at {found.failed.at:%H:%M:%S}: {found.failed.verdict.reason}"
    elif found.passed:
        said = f"This policy would have passed it at {found.passed.at:%H:%M:%S}: {found.passed.verdict.reason}"
    else:
        said = f"This policy would not have decided: {found.looks[-1].verdict.reason}"
    if found.same is not None:
        same = "bit for bit the stored evidence" if found.same else "NOT the stored evidence"
        return f"{len(found.looks)} looks give {same}. {happened}."
    return f"{said} {happened}."


def _look(look: replay.Look) -> ReplayedLook:
    names = ("guard", "label", "evidence", "threshold", "promotion_evidence", "promotion_threshold", "effect")
    guards = tuple(ReplayedGuard(**{name: getattr(f, name) for name in names}) for f in look.verdict.findings)
    verdict = look.verdict
    return ReplayedLook(
        at=look.at,
        phase=look.phase,
        share_pct=look.share_pct,
        label=verdict.label,
        evidence=verdict.evidence,
        threshold=verdict.threshold,
        guards=guards,
    )
