"""What closes the gap between desired and observed, as an ordered list of actions.

Called by the loop after the save, for every model, with or without an open rollout. Plans come from the difference, never
from the edge just taken, so a plan may be made and applied again at any time.

Order of writes: traffic first (a publish never waits for anything), then the registry, then replicas; nothing is stopped
before every connected gateway has acknowledged a routing without it.
"""

from __future__ import annotations

from dataclasses import dataclass

from .machine import CHAMPION
from .model import (
    Ack,
    Deployment,
    DeploymentState,
    GatewayState,
    ModelRecord,
    Observed,
    Phase,
    RegistryNote,
    Rollout,
    Routing,
    Unknown,
)


@dataclass(frozen=True, slots=True)
class Publish:
    routing: Routing


@dataclass(frozen=True, slots=True)
class Withdraw:
    model: str


@dataclass(frozen=True, slots=True)
class PointAlias:
    model: str
    alias: str
    version: int | None


@dataclass(frozen=True, slots=True)
class Ensure:
    model: str
    version: int
    replicas: int


@dataclass(frozen=True, slots=True)
class Stop:
    model: str
    version: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Deliver the oldest note of the outbox."""

    model: str
    note: RegistryNote


Action = Publish | Withdraw | PointAlias | Ensure | Stop | Tell

_NEEDS_CHALLENGER = frozenset({Phase.STARTING, Phase.PROGRESSING, Phase.PROMOTING, Phase.PROBATION})


def wanted(record: ModelRecord, rollout: Rollout | None) -> dict[int, int]:
    """Versions that must run, with their number of replicas."""
    versions: dict[int, int] = {}
    if record.champion is not None:
        versions[record.champion] = record.replicas
    for version, _ in record.split.weights if record.split else ():
        versions.setdefault(version, record.replicas)
    if rollout is not None and rollout.open:
        if rollout.spec.champion is not None:
            versions.setdefault(rollout.spec.champion, record.replicas)
        if rollout.status.phase in _NEEDS_CHALLENGER:
            versions[rollout.spec.version] = rollout.spec.replicas
    return versions


def routing(record: ModelRecord, rollout: Rollout | None, observed: Observed) -> Routing | None:
    """What the gateways should know of the model now.

    A weighted version keeps its last known addresses when none is ready: an empty cluster answers nobody either, and an
    address may come back sooner than the next look. Other versions are pinned as soon as they are ready.
    """
    if record.split is None:
        return None
    published: dict[int, tuple[str, ...]] = {}
    if not isinstance(observed.gateway, Unknown) and observed.gateway.published is not None:
        published = dict(observed.gateway.published.endpoints)
    known = published
    if not isinstance(observed.deployments, Unknown):
        known = {found.version: found.endpoints for found in observed.deployments}
    weighted = {version for version, _ in record.split.weights}
    endpoints: dict[int, tuple[str, ...]] = {}
    for version in sorted(weighted | wanted(record, rollout).keys()):
        addresses = known.get(version, ())
        if version in weighted:
            endpoints[version] = addresses or published.get(version, ())
        elif addresses:
            endpoints[version] = addresses
    return Routing(record.model, record.split, record.epoch, tuple(endpoints.items()))


def plan(record: ModelRecord, rollout: Rollout | None, observed: Observed) -> tuple[Action, ...]:
    """All that is to be done now, in order. Empty when the world is as it should be."""
    return (
        *_traffic(record, rollout, observed),
        *_alias(rollout, observed),
        *_replicas(record, rollout, observed),
        *(Tell(record.model, note) for note in record.outbox[:1] if not isinstance(observed.deployments, Unknown)),
    )


def _traffic(record: ModelRecord, rollout: Rollout | None, observed: Observed) -> tuple[Action, ...]:
    if isinstance(observed.gateway, Unknown):
        return ()
    desired = routing(record, rollout, observed)
    if desired == observed.gateway.published:
        return ()
    return (Withdraw(record.model),) if desired is None else (Publish(desired),)


def _alias(rollout: Rollout | None, observed: Observed) -> tuple[Action, ...]:
    """The alias follows the traffic, forward and back. `alias_moved` is only ever set once the traffic was verified."""
    if rollout is None or not rollout.status.alias_moved or isinstance(observed.alias, Unknown):
        return ()
    spec, phase = rollout.spec, rollout.status.phase
    target = spec.version if phase is Phase.PROMOTING else spec.champion if phase is Phase.ROLLING_BACK else observed.alias
    return () if target == observed.alias else (PointAlias(spec.model, CHAMPION, target),)


def _replicas(record: ModelRecord, rollout: Rollout | None, observed: Observed) -> tuple[Action, ...]:
    if isinstance(observed.deployments, Unknown):
        return ()
    running = {found.version: found for found in observed.deployments}
    actions: list[Action] = []
    needed = wanted(record, rollout)
    for version, replicas in needed.items():
        found = running.get(version)
        if found is None or (found.wanted != replicas and found.state not in _OVER):
            actions.append(Ensure(record.model, version, replicas))
    for version, found in running.items():
        if version not in needed and found.state is not DeploymentState.STOPPING and _off_traffic(found, observed.gateway):
            actions.append(Stop(record.model, version))
    return tuple(actions)


_OVER = frozenset({DeploymentState.FAILED, DeploymentState.STOPPING})


def _off_traffic(found: Deployment, gateway: GatewayState | Unknown) -> bool:
    """May its replicas be stopped? Only once no gateway can send it anything any more."""
    if not found.endpoints and found.state is DeploymentState.FAILED:
        return True
    if isinstance(gateway, Unknown) or gateway.ack is not Ack.YES:
        return False
    return gateway.acked is None or found.version not in dict(gateway.acked.endpoints)
