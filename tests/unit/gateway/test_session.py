"""The conversation with one gateway, played against an Envoy made of dictionaries that checks at every step what the real one
would need: no route may name a cluster that is not there with its endpoints. Whatever is published, in whatever order answers
come and streams break, it ends with exactly what is wanted, or with the last good of what was refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.route.v3 import route_pb2, scoped_route_pb2
from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import snapshot
from gateway.session import Session, Wanted
from gateway.settings import Settings
from gateway.snapshot import CDS, EDS, LDS, RDS, SRDS
from rollout import model

SETTINGS = Settings(linger_s=10.0)
LISTENER = snapshot.listener_resource(SETTINGS, None)
MESSAGES = {
    CDS: cluster_pb2.Cluster,
    EDS: endpoint_pb2.ClusterLoadAssignment,
    RDS: route_pb2.RouteConfiguration,
    SRDS: scoped_route_pb2.ScopedRouteConfiguration,
}
PATIENCE_S = 3.0  # of Envoy with a cluster without endpoints
BAD_PORT = 666  # an address with this port is refused


def routing(name: str, weights: dict[int, int], epoch: int, ports: dict[int, int] | None = None) -> model.Routing:
    known = ports or dict.fromkeys(weights, 3000)
    endpoints = tuple((version, (f"127.0.0.1:{port}",)) for version, port in sorted(known.items()))
    return model.Routing(name, model.Split.of(weights), epoch, endpoints)


@dataclass
class FakeEnvoy:
    """State of the world, as Envoy keeps it across streams."""

    clusters: set[str] = field(default_factory=set)
    endpoints: dict[str, int] = field(default_factory=dict)
    scopes: set[str] = field(default_factory=set)
    routes: dict[str, route_pb2.RouteConfiguration] = field(default_factory=dict)
    listener: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    nonces: dict[str, str] = field(default_factory=dict)
    warming: discovery_pb2.DiscoveryResponse | None = None  # clusters whose confirmation waits for their endpoints
    refused: set[str] = field(default_factory=set)  # clusters that go without endpoints, since they were refused
    lost: list[str] = field(default_factory=list)
    received: list[str] = field(default_factory=list)

    def hello(self) -> list[discovery_pb2.DiscoveryRequest]:
        """A new stream: subscriptions as they stand."""
        self.nonces, self.warming = {}, None
        kinds = (
            [CDS]
            + ([EDS] if self.clusters else [])
            + [LDS]
            + ([SRDS] if self.listener else [])
            + ([RDS] if self.scopes else [])
        )
        return [self.request(kind) for kind in kinds]

    def request(self, kind: str, error: str = "") -> discovery_pb2.DiscoveryRequest:
        names = {EDS: self.clusters, RDS: self.scopes}.get(kind, set())
        request = discovery_pb2.DiscoveryRequest(
            type_url=kind,
            resource_names=sorted(names),
            version_info=self.versions.get(kind, ""),
            response_nonce=self.nonces.get(kind, ""),
        )
        if error:
            request.error_detail.message = error
        return request

    def apply(self, response: discovery_pb2.DiscoveryResponse) -> list[discovery_pb2.DiscoveryRequest]:
        kind = response.type_url
        self.received.append(kind)
        self.nonces[kind] = response.nonce
        if kind == LDS:
            first, self.listener = not self.listener, True
            self.versions[kind] = response.version_info
            return [self.request(LDS)] + ([self.request(SRDS)] if first else [])
        bodies = [MESSAGES[kind]() for _ in response.resources]
        assert all(packed.Unpack(body) for packed, body in zip(response.resources, bodies, strict=True))
        answers = {CDS: self.take_clusters, EDS: self.take_endpoints, SRDS: self.take_scopes, RDS: self.take_routes}[kind](
            bodies
        )
        self.check()
        return answers if isinstance(answers, list) else self.accept(response)

    def accept(self, response: discovery_pb2.DiscoveryResponse) -> list[discovery_pb2.DiscoveryRequest]:
        kind = response.type_url
        if kind == CDS:
            self.warming = response
            return [self.request(EDS), *self.warm()]
        self.versions[kind] = response.version_info
        return [self.request(kind), *([self.request(RDS)] if kind == SRDS else self.warm())]

    def warm(self) -> list[discovery_pb2.DiscoveryRequest]:
        """Envoy confirms clusters when all of them have, or were refused, their endpoints."""
        if self.warming is None or self.clusters - self.endpoints.keys() - self.refused:
            return []
        self.versions[CDS], self.warming = self.warming.version_info, None
        return [self.request(CDS)]

    def lose_patience(self) -> list[discovery_pb2.DiscoveryRequest]:
        """The fetch timeout of endpoints that nobody sent."""
        self.refused |= self.clusters - self.endpoints.keys()
        return self.warm()

    def take_clusters(self, bodies: list[cluster_pb2.Cluster]) -> None:
        names = {body.name for body in bodies}
        self.clusters = names
        self.endpoints = {name: port for name, port in self.endpoints.items() if name in names}

    def take_endpoints(self, bodies: list[endpoint_pb2.ClusterLoadAssignment]) -> list[discovery_pb2.DiscoveryRequest] | None:
        ports = {
            body.cluster_name: body.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value for body in bodies
        }
        if BAD_PORT in ports.values():
            self.refused |= ports.keys()
            return [self.request(EDS, "malformed IP address"), *self.warm()]
        self.refused -= ports.keys()
        self.endpoints |= {name: port for name, port in ports.items() if name in self.clusters}
        return None

    def take_scopes(self, bodies: list[scoped_route_pb2.ScopedRouteConfiguration]) -> None:
        names = {body.name for body in bodies}
        self.lost += sorted(self.scopes - names)
        self.scopes = names
        self.routes = {name: route for name, route in self.routes.items() if name in self.scopes}

    def take_routes(self, bodies: list[route_pb2.RouteConfiguration]) -> None:
        self.routes |= {body.name: body for body in bodies if body.name in self.scopes}

    def check(self) -> None:
        for name, route in self.routes.items():
            for entry in route.virtual_hosts[0].routes:
                named = {c.name for c in entry.route.weighted_clusters.clusters} | ({entry.route.cluster} - {""})
                assert named <= self.clusters, f"{name} routes to clusters that are gone"
                assert named <= self.endpoints.keys(), f"{name} routes to clusters without endpoints"


class Talk:
    """A session and the fake Envoy, with both directions of the wire as queues."""

    def __init__(self, linger_s: float = 10.0) -> None:
        self.settings = Settings(linger_s=linger_s)
        self.envoy = FakeEnvoy()
        self.wanted: dict[str, Wanted] = {}
        self.now = 0.0
        self.session = Session("edge", LISTENER, self.settings)
        self.up = self.envoy.hello()
        self.down: list[discovery_pb2.DiscoveryResponse] = []

    def publish(self, one: model.Routing, fallback: Wanted | None = None) -> Wanted:
        self.wanted[one.model] = Wanted(snapshot.bundle(one, SETTINGS), one.epoch, fallback)
        self.session.retry(one.model)
        return self.wanted[one.model]

    def reconnect(self) -> None:
        self.session = Session("edge", LISTENER, self.settings)
        self.up, self.down = self.envoy.hello(), []

    def step(self) -> bool:
        """One message in one direction; False when nothing is left to say."""
        if self.up:
            self.session.receive(self.up.pop(0))
        elif self.down:
            self.up += self.envoy.apply(self.down.pop(0))
        else:
            self.down += self.session.advance(self.wanted, self.now)
        return bool(self.up or self.down)

    def settle(self) -> None:
        for _ in range(500):
            if not self.step() and not self.step():
                return
        pytest.fail("the conversation does not end")

    def wait(self, seconds: float) -> None:
        self.now += seconds
        if seconds > PATIENCE_S:
            self.up += self.envoy.lose_patience()

    def acks(self) -> Mapping[str, model.Ack]:
        return {name: self.session.ack(wanted.bundle)[0] for name, wanted in self.wanted.items()}


def test_a_fresh_envoy_gets_everything_and_confirms() -> None:
    talk = Talk()
    talk.publish(routing("a", {1: 100}, 1))
    talk.publish(routing("b", {1: 50, 2: 50}, 1))
    talk.settle()
    assert talk.acks() == {"a": model.Ack.YES, "b": model.Ack.YES}
    assert talk.envoy.clusters == {"a/v1", "b/v1", "b/v2"}


def test_a_change_of_weights_is_one_route_response() -> None:
    talk = Talk()
    for name in ("a", "b"):
        talk.publish(routing(name, {1: 50, 2: 50}, 1))
    talk.settle()
    talk.envoy.received.clear()
    talk.publish(routing("a", {1: 1, 2: 99}, 2))
    assert talk.acks()["a"] is model.Ack.NOT_YET
    talk.settle()
    assert talk.envoy.received == [RDS]
    assert talk.acks()["a"] is model.Ack.YES


def test_a_new_version_comes_before_its_routes_and_an_old_one_goes_after_a_while() -> None:
    talk = Talk()
    talk.publish(routing("a", {1: 100}, 1))
    talk.settle()
    talk.envoy.received.clear()
    talk.publish(routing("a", {2: 100}, 2))
    talk.settle()
    assert talk.envoy.received == [CDS, EDS, RDS]
    assert talk.envoy.clusters == {"a/v1", "a/v2"}, "requests that chose v1 may still be on their way"
    due = talk.session.due()
    assert due == SETTINGS.linger_s
    talk.now = due
    talk.settle()
    assert talk.envoy.clusters == {"a/v2"}
    assert talk.session.due() is None


def test_without_lingering_the_old_version_goes_after_its_routes_all_the_same() -> None:
    talk = Talk(linger_s=0.0)
    talk.publish(routing("a", {1: 100}, 1))
    talk.settle()
    talk.envoy.received.clear()
    talk.publish(routing("a", {2: 100}, 2))
    talk.settle()
    assert talk.envoy.received == [CDS, EDS, RDS, CDS]
    assert talk.envoy.clusters == {"a/v2"}


def test_a_withdrawn_model_loses_its_scope_then_its_clusters() -> None:
    talk = Talk()
    talk.publish(routing("a", {1: 100}, 1))
    talk.publish(routing("b", {1: 100}, 1))
    talk.settle()
    del talk.wanted["a"]
    assert not talk.session.gone("a")
    talk.settle()
    assert talk.session.gone("a")
    assert talk.envoy.scopes == {"b"}
    talk.wait(SETTINGS.linger_s)
    talk.settle()
    assert talk.envoy.clusters == {"b/v1"}


def test_the_world_of_a_gateway_without_models_is_empty_and_can_grow_after_a_reconnect() -> None:
    talk = Talk()
    talk.settle()
    assert talk.envoy.listener
    talk.reconnect()
    talk.publish(routing("a", {1: 100}, 1))
    talk.settle()
    assert talk.acks() == {"a": model.Ack.YES}


def test_a_returning_gateway_loses_nothing_on_the_way_to_the_new() -> None:
    talk = Talk(linger_s=10.0)
    for name in ("a", "b"):
        talk.publish(routing(name, {1: 100}, 1))
    talk.settle()
    talk.publish(routing("a", {2: 100}, 2))
    talk.reconnect()
    talk.settle()
    assert talk.envoy.lost == []
    assert talk.envoy.clusters == {"a/v1", "a/v2", "b/v1"}
    assert talk.acks() == {"a": model.Ack.YES, "b": model.Ack.YES}


def test_a_returning_gateway_keeps_its_routes_when_it_refuses_what_a_new_control_plane_wants() -> None:
    talk = Talk(linger_s=0.0)
    talk.publish(routing("a", {1: 100}, 1))
    talk.settle()
    talk.publish(routing("a", {1: 50, 2: 50}, 2, {1: 3000, 2: BAD_PORT}))  # no fallback: the last good one was forgotten
    talk.reconnect()
    talk.settle()
    assert talk.acks() == {"a": model.Ack.REFUSED}
    assert talk.envoy.lost == []
    assert talk.envoy.routes.keys() == {"a"}
    talk.publish(routing("a", {1: 100}, 3))
    talk.settle()
    assert talk.acks() == {"a": model.Ack.YES}


def test_a_refusal_stays_with_its_model_and_something_new_is_tried_again() -> None:
    talk = Talk()
    good = talk.publish(routing("a", {1: 100}, 1))
    talk.publish(routing("b", {1: 100}, 1))
    talk.settle()
    talk.publish(routing("a", {1: 50, 2: 50}, 2, {1: 3000, 2: BAD_PORT}), good)
    talk.publish(routing("b", {1: 50, 2: 50}, 2))
    talk.settle()
    assert talk.acks() == {"a": model.Ack.REFUSED, "b": model.Ack.YES}
    assert talk.session.ack(talk.wanted["a"].bundle) == (model.Ack.REFUSED, "malformed IP address")
    assert talk.session.ack(good.bundle)[0] is model.Ack.YES, "the last good routing is still confirmed"
    talk.publish(routing("a", {1: 50, 2: 50}, 3, {1: 3000, 2: 3001}), good)
    talk.settle()
    assert talk.acks() == {"a": model.Ack.YES, "b": model.Ack.YES}


def test_a_gateway_that_never_had_the_good_routing_gets_it_when_it_refuses_the_new_one() -> None:
    talk = Talk()
    good = talk.publish(routing("a", {1: 100}, 1))
    talk.publish(routing("a", {1: 50, 2: 50}, 2, {1: 3000, 2: BAD_PORT}), good)
    talk.publish(routing("b", {1: 100}, 1))
    talk.settle()
    assert talk.acks() == {"a": model.Ack.REFUSED, "b": model.Ack.YES}
    assert talk.envoy.routes.keys() == {"a", "b"}
    assert talk.session.ack(good.bundle)[0] is model.Ack.YES


def test_a_refused_listener_refuses_every_model() -> None:
    talk = Talk()
    talk.publish(routing("a", {1: 100}, 1))
    talk.session.receive(talk.envoy.request(LDS))
    (response,) = talk.session.advance(talk.wanted, 0.0)
    talk.envoy.nonces[LDS] = response.nonce
    talk.session.receive(talk.envoy.request(LDS, "cannot bind"))
    assert talk.session.advance(talk.wanted, 0.0) == []
    assert talk.session.ack(talk.wanted["a"].bundle) == (model.Ack.REFUSED, "cannot bind")


def test_answers_to_overtaken_responses_and_unknown_types_are_ignored() -> None:
    talk = Talk()
    talk.publish(routing("a", {1: 100}, 1))
    talk.settle()
    stale = talk.envoy.request(RDS, "too late")
    stale.response_nonce = "0"
    talk.session.receive(stale)
    talk.session.receive(discovery_pb2.DiscoveryRequest(type_url="type.googleapis.com/other"))
    assert talk.acks() == {"a": model.Ack.YES}


actions = st.one_of(
    st.tuples(
        st.just("publish"),
        st.sampled_from("abc"),
        st.dictionaries(st.integers(1, 4), st.integers(1, 99), min_size=1, max_size=3),
    ),
    st.tuples(st.just("poison"), st.sampled_from("abc"), st.integers(1, 4)),
    st.tuples(st.just("withdraw"), st.sampled_from("abc")),
    st.tuples(st.just("steps"), st.integers(1, 40)),
    st.tuples(st.just("reconnect")),
    st.tuples(st.just("time"), st.floats(0.1, 20.0)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(actions, max_size=25), st.sampled_from([0.0, 10.0]))
def test_any_history_ends_with_what_is_wanted_and_never_breaks_a_route(
    history: list[tuple[object, ...]], linger_s: float
) -> None:
    talk, good = Talk(linger_s), {}
    for epoch, (kind, *rest) in enumerate(history, start=1):
        match kind, *rest:
            case "publish", str(name), dict(raw):
                versions = sorted(raw)
                weights = dict.fromkeys(versions, 100 // len(versions))
                weights[versions[0]] += 100 - sum(weights.values())
                good[name] = talk.publish(routing(name, weights, epoch, dict(raw)))
            case "poison", str(name), int(version):
                if name not in talk.wanted and not talk.session.gone(name):
                    continue  # withdrawn, but Envoy has not heard of it: refusing this, it rightly keeps what it has
                talk.publish(routing(name, {version: 100}, epoch, {version: BAD_PORT}), good.get(name))
            case "withdraw", str(name):
                talk.wanted.pop(name, None)
                good.pop(name, None)
            case "steps", int(steps):
                for _ in range(steps):
                    talk.step()
            case "reconnect", *_:
                talk.reconnect()
            case "time", float(passed):
                talk.wait(passed)
    talk.settle()
    talk.wait(SETTINGS.linger_s)
    talk.settle()
    talk.wait(SETTINGS.linger_s)
    talk.settle()
    expected = {name: wanted if BAD_PORT not in ports_of(wanted) else good.get(name) for name, wanted in talk.wanted.items()}
    runs = {name: wanted.bundle for name, wanted in expected.items() if wanted is not None}
    assert {name for name, ack in talk.acks().items() if ack is model.Ack.REFUSED} == {
        name for name, wanted in talk.wanted.items() if BAD_PORT in ports_of(wanted)
    }
    assert all(talk.session.ack(bundle)[0] is model.Ack.YES for bundle in runs.values())
    assert talk.envoy.clusters == {cluster for bundle in runs.values() for cluster in bundle.clusters}
    assert talk.envoy.routes.keys() == runs.keys()


def ports_of(wanted: Wanted) -> set[int]:
    return {int(address.rpartition(":")[2]) for _, addresses in wanted.bundle.routing.endpoints for address in addresses}
