"""Routes of reports in depth: ask for one, follow it, list them, read them. The files themselves come from MLflow."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Path, Query, Response
from pydantic import AwareDatetime

from controlplane.drift.reports import Pending, Reporter
from monitoring.reports.making import Report
from monitoring.reports.outcome import HTML, STATEMENT, Check, End, Score, Trigger

from .callers import Services
from .errors import Unprocessable, documented
from .links import PREFIX
from .schemas import MAX_VERSION, Body, View

router = APIRouter(tags=["drift"])

Name = Annotated[str, Path(description="The model's registered name.", max_length=250)]
Number = Annotated[int, Path(description="The version.", ge=1, le=MAX_VERSION)]
Id = Annotated[
    str, Path(description="The report's id; `latest` is the newest that is done.", pattern=r"^(latest|\d{8}T\d{9}Z-[a-z]+)$")
]
File = Literal["report.html", "evidently.json", "result.json"]
BASE = "/models/{name}/versions/{version}/drift/reports"
READ = documented(404, 409, 422, 503)
LONGEST = timedelta(days=366)
MEDIA = {"html": "text/html; charset=utf-8", "json": "application/json"}


class ReportOrder(Body):
    """start, end: of the logged rows, `end` excluded. Left out: the last day."""

    start: AwareDatetime | None = None
    end: AwareDatetime | None = None


class DriftReport(View):
    """state: of the report; end: how it ended, with a reason unless it is done. checks: our own, which see what Evidently does not. scores:
    Evidently's, whose thresholds are not calibrated: see `statement`. html: the address of the page; null: there is none."""

    id: str
    trigger: Trigger
    start: datetime
    end: datetime
    at: datetime
    state: Literal["waiting", "running", "ended"]
    step: str
    outcome: End | None
    reason: str
    rows: int
    checks: tuple[Check, ...]
    scores: tuple[Score, ...]
    left_out: dict[str, str]
    took_s: float | None
    html: str | None
    statement: str


class DriftReports(View):
    """Newest first, those under way before them."""

    model: str
    version: int
    reports: tuple[DriftReport, ...]


def _reporter(services: Services) -> Reporter:
    if services.reports is None:
        raise HTTPException(503, "no drift reports are made here")
    return services.reports


@router.get(BASE, summary="Reports in depth of a version", responses=READ)
async def reports(
    services: Services, name: Name, version: Number, limit: Annotated[int, Query(ge=1, le=100)] = 30
) -> DriftReports:
    reporter = _reporter(services)
    known = await reporter.listed(name, version, limit)
    under_way = tuple(_pending(each) for each in reporter.pending(name, version))
    return DriftReports(model=name, version=version, reports=(*under_way, *map(_ended, known)))


@router.post(BASE, summary="Make one", status_code=202, responses=READ)
async def make(services: Services, name: Name, version: Number, order: ReportOrder) -> DriftReport:
    """Answered at once; follow it by its id. It runs in a process of its own, after those that were asked for before."""
    reporter = _reporter(services)
    await services.registry.version(name, version)
    end = order.end or services.clock()
    start = order.start or end - timedelta(days=1)
    if start >= end:
        raise Unprocessable("start", "must be before end")
    if end - start > LONGEST:
        raise Unprocessable("start", f"must be at most {LONGEST.days} days before end")
    made = reporter.ask(name, version, start, end, Trigger.HAND)
    return next(_pending(each) for each in reporter.pending(name, version) if each.order == made)


@router.get(BASE + "/{report_id}", summary="One report", responses=READ)
async def report(services: Services, name: Name, version: Number, report_id: Id) -> DriftReport:
    reporter = _reporter(services)
    for each in reporter.pending(name, version):
        if each.order.id == report_id:
            return _pending(each)
    found = await reporter.newest(name, version) if report_id == "latest" else report_id
    return _ended(await reporter.report(name, version, found))


@router.get(
    BASE + "/{report_id}/{file}",
    summary="A file of a report",
    response_class=Response,
    responses=READ | {200: {"content": {"text/html": {}, "application/json": {}}}},
)
async def report_file(services: Services, name: Name, version: Number, report_id: Id, file: File) -> Response:
    """The page as Evidently made it, or its numbers."""
    reporter = _reporter(services)
    found = await reporter.newest(name, version) if report_id == "latest" else report_id
    content = await reporter.file(name, version, found, file)
    # values of logged rows are in the page: whatever they hold, it must not act as somebody who may call this API
    headers = {"Content-Security-Policy": "sandbox allow-scripts", "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=MEDIA[file.rpartition(".")[2]], headers=headers)


def _pending(each: Pending) -> DriftReport:
    order = each.order
    return DriftReport(
        id=order.id,
        trigger=order.trigger,
        start=order.start,
        end=order.end,
        at=order.at,
        state="running" if each.step else "waiting",
        step=each.step,
        outcome=None,
        reason="",
        rows=0,
        checks=(),
        scores=(),
        left_out={},
        took_s=None,
        html=None,
        statement=STATEMENT,
    )


def _ended(made: Report) -> DriftReport:
    order, result = made.order, made.result
    page = quote(order.model, safe="")
    return DriftReport(
        id=order.id,
        trigger=order.trigger,
        start=order.start,
        end=order.end,
        at=order.at,
        state="ended",
        step="",
        outcome=result.end,
        reason="; ".join(filter(None, (result.reason, made.unkept and f"it was not kept: {made.unkept}"))),
        rows=result.rows,
        checks=result.checks,
        scores=result.scores,
        left_out=dict(result.left_out or {}),
        took_s=made.took_s,
        html=f"{PREFIX}/models/{page}/versions/{order.version}/drift/reports/{order.id}/{HTML}" if HTML in made.files else None,
        statement=STATEMENT,
    )
