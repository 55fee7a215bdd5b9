"""PURE. One gateway's side of the conversation: what it confirmed, what it refused, and what to send it next.

Driven by `ads.py`, one per gRPC stream. Level-triggered: `advance` compares what is wanted with what is confirmed and returns the
responses that may go out now, so calling it again is harmless. The order of writes lives here and nowhere else:

1. clusters, new and old together; 2. their endpoints; 3. a model's scope, then its routes, once all clusters they name are
confirmed; 4. clusters that no route names any more go, `linger_s` later. A change of weights alone is one route response.

A refused resource is never sent again until something new is published for its model; the rest of the world goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from envoy.service.discovery.v3 import discovery_pb2

from rollout import model

from . import snapshot
from .settings import Settings
from .snapshot import CDS, EDS, LDS, RDS, SRDS, Bundle, Resource

WHOLE = frozenset({CDS, LDS, SRDS})  # a response lists everything there is; of EDS and RDS, only what changed


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one model should be; `number` counts publications; `fallback` was confirmed last, for gateways that refuse this."""

    bundle: Bundle
    number: int
    fallback: Wanted | None = None


@dataclass(slots=True)
class _Channel:
    """One resource type on one stream. At most one response is in flight."""

    subscribed: frozenset[str] | None = None  # None: Envoy has not asked for this type yet
    acked: dict[str, str] = field(default_factory=dict)  # name -> hash
    flight: dict[str, Resource] | None = None
    nonce: str = ""
    answered: bool = False  # the first response has been confirmed
    unsure: bool = False  # a refused response may have been applied in part: send the whole set again
    alone: set[str] = field(default_factory=set)  # sent one by one, to find the refused one of a batch


class Session:
    """Everything known about one connected gateway. No I/O, no clock."""

    def __init__(self, node_id: str, listener: Resource, settings: Settings) -> None:
        self.node_id = node_id
        self._settings = settings
        self._listener = listener
        self._channels = {kind: _Channel() for kind in (CDS, EDS, LDS, SRDS, RDS)}
        self._refused: dict[str, dict[tuple[str, str, str], str]] = {}  # model -> (type, name, hash) -> Envoy's words
        self._routed: dict[str, Bundle] = {}  # what the routes that Envoy has, or is just getting, were compiled from
        self._sent_routes: dict[str, Bundle] = {}
        self._lingering: dict[str, tuple[Resource, float]] = {}  # clusters without a route, since when
        self._needed: dict[str, Resource] = {}  # clusters, at the last look
        self._endpoints: dict[str, Resource] = {}  # of each cluster, as last wanted
        self._returning = False  # Envoy kept a configuration from an earlier stream, namely
        self._kept_clusters: dict[str, Resource] = {}
        self._kept_routes: frozenset[str] = frozenset()
        self._responses = 0

    # --- what Envoy says

    def receive(self, request: discovery_pb2.DiscoveryRequest) -> None:
        channel = self._channels.get(request.type_url)
        if channel is None:
            return  # a type that slipway does not serve
        first = channel.subscribed is None
        if not first and request.response_nonce != channel.nonce:
            return  # an answer to a response that was overtaken; the answer to the newer one follows
        channel.subscribed = frozenset(request.resource_names)
        if first and request.type_url == CDS:
            self._returning = request.version_info not in ("", snapshot.version(()))
        if first and request.type_url == EDS:
            self._kept_clusters = {name: snapshot.cluster_resource(name, self._settings) for name in channel.subscribed}
        if first and request.type_url == RDS:
            self._kept_routes = channel.subscribed
        if channel.flight is not None:
            flight, channel.flight = channel.flight, None
            if request.HasField("error_detail"):
                self._refuse(request.type_url, channel, flight, request.error_detail.message)
            else:
                self._confirm(request.type_url, channel, flight)
        if request.type_url in (EDS, RDS):
            channel.acked = {name: digest for name, digest in channel.acked.items() if name in channel.subscribed}
        if request.type_url == RDS:
            self._routed = {name: bundle for name, bundle in self._routed.items() if name in channel.subscribed}

    def _confirm(self, kind: str, channel: _Channel, flight: dict[str, Resource]) -> None:
        confirmed = {name: resource.hash for name, resource in flight.items()}
        if kind == RDS:
            self._routed.update(self._sent_routes)
            self._sent_routes = {}
        channel.acked = confirmed if kind in WHOLE else channel.acked | confirmed
        channel.answered, channel.unsure = True, False
        channel.alone -= confirmed.keys()

    def _refuse(self, kind: str, channel: _Channel, flight: dict[str, Resource], words: str) -> None:
        changed = {name for name, resource in flight.items() if channel.acked.get(name) != resource.hash}
        if kind in WHOLE:
            blamed = {name for name in changed if name in words} or changed
            channel.unsure = bool(blamed)
        else:
            blamed = changed if len(flight) == 1 else set()
            channel.alone |= changed - blamed
            channel.alone -= blamed
        if kind == RDS:
            self._sent_routes = {}
        for name in blamed:
            resource = flight[name]
            self._refused.setdefault(resource.model, {})[kind, name, resource.hash] = words

    # --- what the control plane wants

    def retry(self, model_name: str) -> None:
        """Something new was published for the model: what was refused may be tried again."""
        self._refused.pop(model_name, None)

    def ack(self, bundle: Bundle) -> tuple[model.Ack, str]:
        """Does this gateway run the bundle? With Envoy's words if it refused."""
        refusals = self._refused.get("") or (self._refused[bundle.routing.model] if self._is_refused(bundle) else None)
        if refusals:
            return model.Ack.REFUSED, next(iter(refusals.values()))
        name = bundle.routing.model
        runs = (
            self._channels[LDS].acked.get(self._listener.name) == self._listener.hash
            and self._channels[SRDS].acked.get(name) == bundle.scope.hash
            and self._channels[RDS].acked.get(name) == bundle.route.hash
            and self._ready(bundle)
        )
        return (model.Ack.YES if runs else model.Ack.NOT_YET), ""

    def gone(self, model_name: str) -> bool:
        """Has this gateway confirmed to have no routes of the model?"""
        scopes = self._channels[SRDS]
        return scopes.answered and scopes.flight is None and model_name not in scopes.acked

    def advance(self, wanted: Mapping[str, Wanted], now: float) -> list[discovery_pb2.DiscoveryResponse]:
        """The responses to send now, in order."""
        chosen = {name: bundle for name, bundle in ((n, self._choose(w)) for n, w in wanted.items()) if bundle is not None}
        responses = [
            self._send_whole(CDS, self._wanted_clusters(chosen.values(), now)),
            self._send_part(EDS, self._wanted_endpoints(chosen.values())),
            self._send_whole(LDS, self._wanted_listener()),
            self._send_whole(SRDS, self._wanted_scopes(wanted, chosen)),
            self._send_routes(chosen),
        ]
        return [response for response in responses if response is not None]

    def due(self) -> float | None:
        """When `advance` has something to do without anything happening: the next cluster stops lingering."""
        since = [at for _, at in self._lingering.values()]
        return min(since) + self._settings.linger_s if since else None

    # --- the order of writes

    def _choose(self, wanted: Wanted) -> Bundle | None:
        if not self._is_refused(wanted.bundle):
            return wanted.bundle
        return self._choose(wanted.fallback) if wanted.fallback is not None else None

    def _is_refused(self, bundle: Bundle) -> bool:
        refusals = self._refused.get(bundle.routing.model)
        return refusals is not None and any((kind, r.name, r.hash) in refusals for kind, r in bundle.resources())

    def _ready(self, bundle: Bundle) -> bool:
        clusters, endpoints = self._channels[CDS].acked, self._channels[EDS].acked
        return all(clusters.get(name) == resource.hash for name, resource in bundle.clusters.items()) and all(
            endpoints.get(name) == resource.hash for name, resource in bundle.endpoints.items()
        )

    def _wanted_clusters(self, chosen: Iterable[Bundle], now: float) -> dict[str, Resource] | None:
        if self._returning and self._channels[EDS].subscribed is None:
            return None  # its next words tell which clusters it still has
        # what the routes that it kept need, nobody knows, until they are replaced or gone
        self._kept_clusters = {
            name: resource
            for name, resource in self._kept_clusters.items()
            if resource.model not in self._routed and not self.gone(resource.model)
        }
        needed = dict(self._kept_clusters)
        for bundle in (*self._routed.values(), *self._sent_routes.values(), *chosen):
            needed.update(bundle.clusters)
        for name, resource in self._needed.items():
            if name not in needed:
                self._lingering.setdefault(name, (resource, now))
        self._lingering = {
            name: (resource, since)
            for name, (resource, since) in self._lingering.items()
            if name not in needed and now - since < self._settings.linger_s
        }
        self._needed = needed
        return {name: resource for name, (resource, _) in self._lingering.items()} | needed

    def _wanted_endpoints(self, chosen: Iterable[Bundle]) -> dict[str, Resource]:
        """Of every cluster that was sent, wanted any more or not: Envoy confirms clusters only when all have their endpoints."""
        channel = self._channels[CDS]
        sent = channel.acked.keys() | (channel.flight or {}).keys()
        for bundle in chosen:
            self._endpoints.update(bundle.endpoints)
        self._endpoints = {name: resource for name, resource in self._endpoints.items() if name in sent or name in self._needed}
        return {
            name: resource
            for name, resource in self._endpoints.items()
            if name in sent and (EDS, name, resource.hash) not in self._refused.get(resource.model, {})
        }

    def _wanted_listener(self) -> dict[str, Resource] | None:
        refused = (LDS, self._listener.name, self._listener.hash) in self._refused.get("", {})
        return None if refused else {self._listener.name: self._listener}

    def _wanted_scopes(self, wanted: Mapping[str, Wanted], chosen: Mapping[str, Bundle]) -> dict[str, Resource] | None:
        """Scopes of a model appear when its clusters are ready. The first answer waits for all models: a list with gaps would
        take the missing ones off a returning Envoy."""
        channel = self._channels[SRDS]
        ready = {name for name, bundle in chosen.items() if self._ready(bundle)}
        if not channel.answered and len(ready) < len(chosen):
            return None
        keep = ready | ((channel.acked.keys() | self._kept_routes) & wanted.keys())
        return {name: wanted[name].bundle.scope for name in sorted(keep)}

    def _send_routes(self, chosen: Mapping[str, Bundle]) -> discovery_pb2.DiscoveryResponse | None:
        channel = self._channels[RDS]
        if channel.flight is not None or not channel.subscribed:
            return None
        changed = {
            name: bundle
            for name, bundle in chosen.items()
            if channel.acked.get(name) != bundle.route.hash and name in channel.subscribed and self._ready(bundle)
        }
        response = self._send_part(RDS, {name: bundle.route for name, bundle in changed.items()})
        if channel.flight is not None:
            self._sent_routes = {name: changed[name] for name in channel.flight}
        return response

    # --- responses

    def _send_whole(self, kind: str, target: Mapping[str, Resource] | None) -> discovery_pb2.DiscoveryResponse | None:
        channel = self._channels[kind]
        if target is None or channel.subscribed is None or channel.flight is not None:
            return None
        settled = channel.answered and not channel.unsure
        if settled and {name: resource.hash for name, resource in target.items()} == channel.acked:
            return None
        return self._respond(kind, channel, dict(target))

    def _send_part(self, kind: str, target: Mapping[str, Resource]) -> discovery_pb2.DiscoveryResponse | None:
        channel = self._channels[kind]
        if not channel.subscribed or channel.flight is not None:
            return None
        changed = {
            name: resource
            for name, resource in target.items()
            if name in channel.subscribed and channel.acked.get(name) != resource.hash
        }
        if not changed:
            return None
        together = {name: resource for name, resource in changed.items() if name not in channel.alone}
        return self._respond(kind, channel, together or dict([next(iter(changed.items()))]))

    def _respond(self, kind: str, channel: _Channel, resources: dict[str, Resource]) -> discovery_pb2.DiscoveryResponse:
        self._responses += 1
        channel.flight, channel.nonce = resources, str(self._responses)
        return discovery_pb2.DiscoveryResponse(
            type_url=kind,
            version_info=snapshot.version(resources.values()),
            nonce=channel.nonce,
            resources=[resource.body for resource in resources.values()],
        )
