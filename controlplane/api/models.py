"""Routes of models: what is registered, what is served, how the traffic is split. Reads only."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from rollout import model, ports

from . import schemas, views
from .callers import Services
from .errors import documented

router = APIRouter(tags=["models"])

Name = Annotated[str, Path(description="The model's registered name.", max_length=250)]
READ = documented(404, 422, 503)
ALL = 10_000  # more open rollouts than there can be models


@router.get("/models", summary="List models", responses=documented(503))
async def models(services: Services) -> schemas.Models:
    """Every model that is registered or served, by name. One question to the registry, however many models there are; when
    it does not answer, the served ones are here all the same."""
    why: str | None = None
    registered: set[str] = set()
    try:
        registered = set(await services.registry.models())
    except ports.PortError as error:
        why = str(error)
    records = {record.model: record for record in await services.store.records()}
    going = {each.spec.model: each for each in await services.store.rollouts(open_only=True, limit=ALL)}
    return schemas.Models(
        models=tuple(
            views.model_line(name, records.get(name), going.get(name), registered=None if why else name in registered)
            for name in sorted(registered | records.keys())
        ),
        registry=why,
    )


@router.get("/models/{name}", summary="Show a model", responses=READ)
async def show(services: Services, name: Name) -> schemas.ModelDetail:
    """What is served of it and on which replicas."""
    record, rollout = await services.store.current(name)
    registered: bool | None = True
    try:
        await services.registry.versions(name)
    except ports.NotFound:
        registered = False
        if record is None:
            raise
    except ports.PortError:
        registered = None
        if record is None:
            raise
    deployments: tuple[model.Deployment, ...] | None = None
    why: str | None = None
    try:
        deployments = await services.runtime.deployments(name)
    except ports.PortError as error:
        why = str(error)
    line = views.model_line(name, record, rollout, registered=registered)
    return schemas.ModelDetail(**dict(line), deployments=deployments, runtime=why)


@router.get("/models/{name}/versions", summary="List versions", responses=READ)
async def versions(services: Services, name: Name) -> schemas.Versions:
    """All registered versions, newest first."""
    known = await services.registry.versions(name)
    return schemas.Versions(model=name, versions=tuple(views.version(each) for each in known))


@router.get("/models/{name}/split", summary="Split of the traffic", responses=READ)
async def split(services: Services, name: Name) -> schemas.LiveSplit:
    """As wanted, as every gateway has confirmed it, and as counted in the last seconds."""
    record = await _record(services, name)
    return views.split(record, await services.gateway.state(name), services.traffic(name))


@router.get("/models/{name}/history", summary="History of a model", responses=READ)
async def history(
    services: Services,
    request: Request,
    name: Name,
    after: Annotated[int, Query(ge=0, le=2**53, description="Only what came after this sequence number.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> schemas.History:
    """The append-only facts of all its rollouts, oldest first."""
    await _record(services, name)
    page = await services.store.events(model_name=name, after=after, limit=limit)
    return views.history(tuple(page), request.url.path, limit)


async def _record(services: Services, name: str) -> model.ModelRecord:
    """The model's record; an empty one if it is registered but was never rolled out."""
    record = await services.store.record(name)
    if record is None:
        await services.registry.versions(name)
        return model.ModelRecord(name)
    return record
