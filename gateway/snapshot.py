"""PURE. A routing becomes a checked, content-hashed set of Envoy resources.

Called by the adapter on every publish. The hash is the version that Envoy acknowledges, so publishing the same again, or
coming back after a restart, changes nothing. Raises `rollout.model.Invalid` before anything is sent.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from envoy.config.route.v3 import route_pb2
from google.protobuf import any_pb2

from rollout import model

from . import clusters, listener, routes
from .settings import Settings

_TYPE = "type.googleapis.com/envoy.config."
CDS = f"{_TYPE}cluster.v3.Cluster"
EDS = f"{_TYPE}endpoint.v3.ClusterLoadAssignment"
LDS = f"{_TYPE}listener.v3.Listener"
SRDS = f"{_TYPE}route.v3.ScopedRouteConfiguration"
RDS = f"{_TYPE}route.v3.RouteConfiguration"

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}")
_RESERVED = frozenset({"v2"})  # the first path segment of the Open Inference Protocol


@dataclass(frozen=True, slots=True)
class Resource:
    """One Envoy resource, packed for the wire. `hash` stands for its content."""

    model: str
    name: str
    hash: str
    body: any_pb2.Any


@dataclass(frozen=True, slots=True)
class Bundle:
    """All resources of one model's routing, by resource type. Changes as a whole or not at all."""

    routing: model.Routing
    clusters: Mapping[str, Resource]
    endpoints: Mapping[str, Resource]
    route: Resource
    scope: Resource

    def resources(self) -> Iterator[tuple[str, Resource]]:
        yield from ((CDS, resource) for resource in self.clusters.values())
        yield from ((EDS, resource) for resource in self.endpoints.values())
        yield SRDS, self.scope
        yield RDS, self.route


def bundle(routing: model.Routing, settings: Settings) -> Bundle:
    """Compile and check. Raises Invalid naming the field."""
    check_routing(routing)
    names = {clusters.cluster_name(routing.model, version): addresses for version, addresses in routing.endpoints}
    route = routes.route_configuration(routing, settings)
    check_route(route, names)
    return Bundle(
        routing=routing,
        clusters={name: cluster_resource(name, settings) for name in names},
        endpoints={name: _resource(routing.model, name, clusters.endpoints(name, names[name])) for name in names},
        route=_resource(routing.model, routing.model, route),
        scope=_resource(routing.model, routing.model, routes.scope(routing.model)),
    )


@functools.lru_cache(maxsize=4096)
def cluster_resource(name: str, settings: Settings) -> Resource:
    """Remembered, since it never changes for a name and costs more than all routes of a model."""
    return _resource(name.rpartition("/v")[0], name, clusters.cluster(name, settings))


def listener_resource(settings: Settings, access_log_path: str | None, otlp: str | None = None) -> Resource:
    return _resource("", listener.NAME, listener.listener(settings, access_log_path, otlp))


def version(resources: Iterable[Resource]) -> str:
    """The version of a set of resources of one type."""
    lines = sorted(f"{resource.name} {resource.hash}" for resource in resources)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def check_routing(routing: model.Routing) -> None:
    if not _MODEL_NAME.fullmatch(routing.model) or routing.model in _RESERVED:
        raise model.Invalid(
            "model",
            f"the model name {routing.model!r} cannot be part of a web address: use up to 128 letters, digits, '.', '_', '~' "
            f"or '-', beginning with a letter or digit, and not {' or '.join(sorted(_RESERVED))}",
        )
    if routing.epoch < 0:
        raise model.Invalid("epoch", f"{routing.model}: epoch must not be negative, it is {routing.epoch}")
    versions = [number for number, _ in routing.endpoints]
    if versions != sorted(set(versions)) or any(number < 1 for number in versions):
        raise model.Invalid("endpoints", f"{routing.model}: versions must be positive, ascending and appear once: {versions}")
    for number, addresses in routing.endpoints:
        parsed = [clusters.split_address(address) for address in addresses]
        if len(set(parsed)) != len(parsed):
            raise model.Invalid("endpoints", f"{routing.model}: version {number} lists an endpoint twice: {list(addresses)}")


def check_route(route: route_pb2.RouteConfiguration, cluster_names: Iterable[str]) -> None:
    """Every cluster that a route names exists, weights sum to 100, and no route hides behind an equal match."""
    known, seen = set(cluster_names), set()
    for entry in (entry for host in route.virtual_hosts for entry in host.routes):
        key = entry.match.SerializeToString(deterministic=True)
        if key in seen:
            raise model.Invalid("endpoints", f"{route.name}: two routes match the same requests: {entry.match}")
        seen.add(key)
        weighted = entry.route.weighted_clusters.clusters
        named = {cluster.name for cluster in weighted} | ({entry.route.cluster} if entry.route.cluster else set())
        if not named <= known:
            raise model.Invalid("split", f"{route.name}: routes lead to clusters that do not exist: {sorted(named - known)}")
        if weighted and sum(cluster.weight.value for cluster in weighted) != 100:
            raise model.Invalid("split", f"{route.name}: weights sum to {sum(c.weight.value for c in weighted)}, not 100")


def _resource(model_name: str, name: str, message: Any) -> Resource:
    body = any_pb2.Any()
    body.Pack(message, deterministic=True)
    return Resource(model_name, name, hashlib.sha256(body.value).hexdigest()[:16], body)
