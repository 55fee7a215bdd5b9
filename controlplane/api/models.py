"""Routes of models: what is registered, what is served, how the traffic is split. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field

from rollout import model, ports

from . import schemas, views
from .callers import Services
from .errors import documented
from .links import model_link, rollout_link
from .services import ObservedSplit

router = APIRouter(tags=["models"])

Name = Annotated[str, Path(description="The model's registered name.", max_length=250)]
READ = documented(404, 422, 503)
ALL = 10_000  # more open rollouts than there can be models


class OpenRollout(schemas.View):
    id: str
    version: int
    phase: model.Phase
    link: str


class Model(schemas.View):
    """A model that is registered or served."""

    model: str
    champion: Annotated[int | None, Field(description="The version that slipway serves by default; null: none yet.")]
    previous: Annotated[int | None, Field(description="The champion before this one.")]
    replicas: int
    split: Annotated[tuple[schemas.Weight, ...] | None, Field(description="Desired split.")]
    registered: Annotated[bool | None, Field(description="Known to the registry; null: the registry does not answer.")]
    open_rollout: OpenRollout | None
    links: Mapping[str, str]


class Models(schemas.View):
    models: tuple[Model, ...]
    registry: Annotated[str | None, Field(description="Why the registry's models are missing; null: they are here.")]


class ModelDetail(Model):
    """One model with its running versions."""

    deployments: Annotated[tuple[model.Deployment, ...] | None, Field(description="Null: the runtime does not answer.")]
    runtime: Annotated[str | None, Field(description="Why the deployments are unknown; null: they are known.")]


class Version(schemas.View):
    """One registered version, as MLflow knows it."""

    version: int
    created_at: datetime
    run_id: str
    has_signature: Annotated[bool, Field(description="Without one it cannot be rolled out.")]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    aliases: tuple[str, ...]
    description: str


class Versions(schemas.View):
    """Newest first."""

    model: str
    versions: tuple[Version, ...]


class AckedSplit(schemas.View):
    """What the gateways have confirmed: `yes`, `not_yet`, `refused` or `away`, with the last split that all confirmed."""

    state: model.Ack
    weights: tuple[schemas.Weight, ...] | None
    epoch: int | None
    nodes: tuple[model.GatewayNode, ...]


class LiveSplit(schemas.View):
    """The same split three times: as wanted, as confirmed by every gateway, as counted."""

    model: str
    desired: tuple[schemas.Weight, ...] | None
    epoch: Annotated[int, Field(description="Counts the changes of the desired split.")]
    acked: AckedSplit
    observed: ObservedSplit


@router.get("/models", summary="List models", responses=documented(503))
async def models(services: Services) -> Models:
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
    return Models(
        models=tuple(
            _line(name, records.get(name), going.get(name), registered=None if why else name in registered)
            for name in sorted(registered | records.keys())
        ),
        registry=why,
    )


@router.get("/models/{name}", summary="Show a model", responses=READ)
async def show(services: Services, name: Name) -> ModelDetail:
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
    line = _line(name, record, rollout, registered=registered)
    return ModelDetail(**dict(line), deployments=deployments, runtime=why)


@router.get("/models/{name}/versions", summary="List versions", responses=READ)
async def versions(services: Services, name: Name) -> Versions:
    """All registered versions, newest first."""
    known = await services.registry.versions(name)
    return Versions(model=name, versions=tuple(_version(each) for each in known))


@router.get("/models/{name}/split", summary="Split of the traffic", responses=READ)
async def split(services: Services, name: Name) -> LiveSplit:
    """As wanted, as every gateway has confirmed it, and as counted in the last seconds."""
    record = await _record(services, name)
    return _split(record, await services.gateway.state(name), services.traffic(name))


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


def _line(name: str, record: model.ModelRecord | None, going: model.Rollout | None, *, registered: bool | None) -> Model:
    record = record or model.ModelRecord(name)
    return Model(
        model=name,
        champion=record.champion,
        previous=record.previous,
        replicas=record.replicas,
        split=views.weights(record.split),
        registered=registered,
        open_rollout=None
        if going is None
        else OpenRollout(id=going.id, version=going.spec.version, phase=going.status.phase, link=rollout_link(going.id)),
        links={"self": model_link(name)} | {word: f"{model_link(name)}/{word}" for word in ("versions", "split", "history")},
    )


def _version(known: ports.ModelVersion) -> Version:
    return Version(
        version=known.version,
        created_at=known.created_at,
        run_id=known.run_id,
        has_signature=known.has_signature,
        metrics=known.metrics,
        tags=known.tags,
        aliases=known.aliases,
        description=known.description,
    )


def _split(record: model.ModelRecord, state: model.GatewayState, observed: ObservedSplit) -> LiveSplit:
    return LiveSplit(
        model=record.model,
        desired=views.weights(record.split),
        epoch=record.epoch,
        acked=AckedSplit(
            state=state.ack,
            weights=views.weights(state.acked.split) if state.acked else None,
            epoch=state.acked.epoch if state.acked else None,
            nodes=state.nodes,
        ),
        observed=observed,
    )
