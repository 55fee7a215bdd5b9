"""Routes of drift: what the last windows showed, and what was judged before. Reads only, the state from memory."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Path, Query, Request
from pydantic import Field

from controlplane.drift.ledger import Judged
from controlplane.drift.watcher import Look
from monitoring.drift.verdict import Calibrated, Finding, Label

from .callers import Services
from .errors import documented
from .schemas import MAX_VERSION, Body, View

router = APIRouter(tags=["drift"])

Name = Annotated[str, Path(description="The model's registered name.", max_length=250)]
Number = Annotated[int, Path(description="The version.", ge=1, le=MAX_VERSION)]
READ = documented(404, 422, 503)


class Page(Body):
    before: Annotated[int | None, Field(ge=1, le=2**53, description="Only what came before this sequence number.")] = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50


class DriftWindow(View):
    """The rows that were judged."""

    rows: int
    start: datetime | None
    end: datetime | None


class DriftVerdict(View):
    """harm: how far predictions, or important features, moved; harmful from 1. columns: the cause, the gravest first.
    comparison: champion against challenger in the same window. clocks, left_out: columns without an alarm, each with why."""

    at: datetime
    label: Label
    sentence: str
    columns: tuple[str, ...]
    harm: float
    window: DriftWindow
    comparison: str
    calibrated: Calibrated | None
    clocks: dict[str, str]
    left_out: dict[str, str]
    findings: tuple[Finding, ...]


class DriftState(View):
    """reason: why nothing is known; null: something is, or will be."""

    version: int
    champion: bool
    reason: str | None
    verdict: DriftVerdict | None


class Drift(View):
    model: str
    versions: tuple[DriftState, ...]


class DriftEntry(View):
    seq: int
    verdict: DriftVerdict


class DriftHistory(View):
    """Newest first; `next` is the address of older ones."""

    model: str
    version: int
    entries: tuple[DriftEntry, ...]
    next: str | None


@router.get("/models/{name}/drift", summary="Drift of what is served", responses=READ)
async def state(services: Services, name: Name) -> Drift:
    """Every version in service: the verdict on its newest window, with scores, thresholds and how they were calibrated."""
    looks = services.drift(name)
    if not looks and await services.store.record(name) is None:
        await services.registry.versions(name)
    return Drift(model=name, versions=tuple(_state(look) for look in looks))


@router.get("/models/{name}/versions/{version}/drift", summary="History of a version's drift", responses=READ)
async def history(
    services: Services, request: Request, name: Name, version: Number, page: Annotated[Page, Query()]
) -> DriftHistory:
    """What was judged: each change, and every ten minutes; kept for 90 days."""
    if services.ledger is None:
        raise HTTPException(503, "drift is not watched here")
    found = await services.ledger.history(name, version, before=page.before, limit=page.limit)
    if not found and page.before is None:
        await services.registry.version(name, version)
    entries = tuple(DriftEntry(seq=entry.seq, verdict=_verdict(entry.judged)) for entry in found)
    more = urlencode({"before": entries[-1].seq, "limit": page.limit}) if len(entries) == page.limit else None
    address = f"{request.url.path}?{more}" if more else None
    return DriftHistory(model=name, version=version, entries=entries, next=address)


def _state(look: Look) -> DriftState:
    judged = None if look.judged is None else _verdict(look.judged)
    return DriftState(version=look.version, champion=look.champion, reason=look.reason, verdict=judged)


def _verdict(judged: Judged) -> DriftVerdict:
    found = judged.verdict
    return DriftVerdict(
        at=judged.at,
        label=found.label,
        sentence=found.sentence,
        columns=found.columns,
        harm=found.harm,
        window=DriftWindow(rows=found.rows, start=judged.start, end=judged.end),
        comparison=judged.comparison,
        calibrated=found.calibrated,
        clocks=dict(found.clocks),
        left_out=dict(found.left_out),
        findings=found.findings,
    )
