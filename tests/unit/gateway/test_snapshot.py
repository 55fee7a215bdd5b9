"""Any set of routings becomes a valid snapshot, equal content has an equal hash, and bad input is named before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from hypothesis import given
from hypothesis import strategies as st

from gateway import settings, snapshot
from rollout import model

SETTINGS = settings.Settings()

names = st.text("abcXYZ019._~-", min_size=1, max_size=12).map(lambda tail: "m" + tail)
ports = st.integers(1, 65535)


@st.composite
def routings(draw: st.DrawFn) -> model.Routing:
    versions = sorted(draw(st.sets(st.integers(1, 10_000), min_size=1, max_size=5)))
    weighted = draw(st.lists(st.sampled_from(versions), min_size=1, max_size=3, unique=True))
    cuts = sorted(draw(st.sets(st.integers(1, 99), min_size=len(weighted) - 1, max_size=len(weighted) - 1)))
    shares = [high - low for low, high in zip([0, *cuts], [*cuts, 100], strict=True)]
    endpoints = tuple(
        (version, tuple(f"10.0.0.{i}:{draw(ports)}" for i in range(draw(st.integers(0, 3))))) for version in versions
    )
    split = model.Split.of(dict(zip(weighted, shares, strict=True)))
    return model.Routing(draw(names), split, draw(st.integers(0, 10**9)), endpoints)


def routing(
    name: str = "flight-delay",
    weights: dict[int, int] | None = None,
    epoch: int = 1,
    endpoints: dict[int, tuple[str, ...]] | None = None,
) -> model.Routing:
    known = endpoints or {1: ("127.0.0.1:3001",), 2: ("127.0.0.1:3002",)}
    return model.Routing(name, model.Split.of(weights or {1: 90, 2: 10}), epoch, tuple(known.items()))


def route_of(bundle: snapshot.Bundle) -> route_pb2.RouteConfiguration:
    found = route_pb2.RouteConfiguration()
    assert bundle.route.body.Unpack(found)
    return found


@given(st.lists(routings(), max_size=4, unique_by=lambda r: r.model))
def test_any_set_of_routings_is_a_consistent_snapshot(several: list[model.Routing]) -> None:
    seen: set[tuple[str, str]] = set()
    for one in several:
        bundle = snapshot.bundle(one, SETTINGS)
        resources = [(kind, resource.name) for kind, resource in bundle.resources()]
        assert not seen & set(resources), "two models share a resource"
        seen |= set(resources)
        assert bundle.clusters.keys() == bundle.endpoints.keys() == {f"{one.model}/v{v}" for v, _ in one.endpoints}
        for entry in route_of(bundle).virtual_hosts[0].routes:
            weighted = entry.route.weighted_clusters.clusters
            assert not weighted or [(c.name, c.weight.value) for c in weighted] == [
                (f"{one.model}/v{version}", weight) for version, weight in one.split.weights
            ]


@given(routings())
def test_equal_routings_have_equal_hashes_and_every_difference_shows(one: model.Routing) -> None:
    first, again = snapshot.bundle(one, SETTINGS), snapshot.bundle(one, SETTINGS)
    assert [r.hash for _, r in first.resources()] == [r.hash for _, r in again.resources()]
    later = snapshot.bundle(model.Routing(one.model, one.split, one.epoch + 1, one.endpoints), SETTINGS)
    assert later.route.hash != first.route.hash
    assert later.clusters == first.clusters, "a change of weights touches routes alone"
    assert later.endpoints == first.endpoints, "a change of weights touches routes alone"


def test_every_version_is_pinned_and_only_the_split_route_carries_the_epoch() -> None:
    routes = route_of(snapshot.bundle(routing(epoch=7), SETTINGS)).virtual_hosts[0].routes
    paths = {entry.match.path for entry in routes}
    for path in ("predict", "invocations", "ready", "v1/predict", "v2/invocations", "v2/ready"):
        assert f"/flight-delay/{path}" in paths
    epochs = {
        (fields["kind"].string_value, fields["epoch"].string_value)
        for fields in (entry.metadata.filter_metadata["slipway"].fields for entry in routes)
    }
    assert epochs == {("split", "7"), ("pinned", "0"), ("override", "0"), ("ready", "0"), ("none", "0")}


@pytest.mark.parametrize("name", ["", "a/b", "with space", "v2", "-x", "é", "a" * 129, "a?b"])
def test_a_model_name_that_is_no_path_segment_is_refused(name: str) -> None:
    with pytest.raises(model.Invalid, match="cannot be part of a web address") as caught:
        snapshot.bundle(routing(name), SETTINGS)
    assert caught.value.field == "model"


@pytest.mark.parametrize("address", ["", "3001", "host:", ":80", "host:0", "host:65536", "host:x", "host:٣"])
def test_an_endpoint_that_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(model.Invalid, match="an endpoint is host:port") as caught:
        snapshot.bundle(routing(endpoints={1: (address,), 2: ()}), SETTINGS)
    assert caught.value.field == "endpoints"


def test_endpoints_are_addresses_that_envoy_understands() -> None:
    bundle = snapshot.bundle(routing(endpoints={1: ("localhost:3001", "[::1]:3001"), 2: ()}), SETTINGS)
    assignment = endpoint_pb2.ClusterLoadAssignment()
    assert bundle.endpoints["flight-delay/v1"].body.Unpack(assignment)
    hosts = [host.endpoint.address.socket_address for host in assignment.endpoints[0].lb_endpoints]
    assert [(host.address, host.port_value) for host in hosts] == [("127.0.0.1", 3001), ("::1", 3001)]


def test_the_same_endpoint_twice_is_refused() -> None:
    with pytest.raises(model.Invalid, match="lists an endpoint twice"):
        snapshot.bundle(routing(endpoints={1: ("localhost:3001", "127.0.0.1:3001"), 2: ()}), SETTINGS)


def test_versions_out_of_order_and_negative_epochs_are_refused() -> None:
    with pytest.raises(model.Invalid, match="ascending"):
        snapshot.bundle(routing(endpoints={2: (), 1: ()}), SETTINGS)
    with pytest.raises(model.Invalid, match="epoch must not be negative"):
        snapshot.bundle(routing(epoch=-1), SETTINGS)


def test_broken_routes_are_found_before_they_are_sent() -> None:
    route = route_of(snapshot.bundle(routing(), SETTINGS))
    with pytest.raises(model.Invalid, match="clusters that do not exist"):
        snapshot.check_route(route, ["flight-delay/v1"])
    doubled = route_pb2.RouteConfiguration()
    doubled.CopyFrom(route)
    doubled.virtual_hosts[0].routes.append(route.virtual_hosts[0].routes[0])
    with pytest.raises(model.Invalid, match="two routes match the same"):
        snapshot.check_route(doubled, ["flight-delay/v1", "flight-delay/v2"])
    for entry in route.virtual_hosts[0].routes:
        for weighted in entry.route.weighted_clusters.clusters:
            weighted.weight.value = 60
    with pytest.raises(model.Invalid, match="weights sum to 120"):
        snapshot.check_route(route, ["flight-delay/v1", "flight-delay/v2"])


def test_the_version_of_a_set_does_not_depend_on_its_order() -> None:
    resources = list(snapshot.bundle(routing(), SETTINGS).clusters.values())
    assert snapshot.version(resources) == snapshot.version(resources[::-1]) != snapshot.version(resources[:1])


def test_a_listener_without_a_log_file_writes_none() -> None:
    with_file, without = (snapshot.listener_resource(SETTINGS, path) for path in ("/tmp/access.log", None))
    unpacked = listener_pb2.Listener()
    assert without.body.Unpack(unpacked)
    assert with_file.hash != without.hash
    assert b"/tmp/access.log" in with_file.body.value
    assert b"access_loggers.file" not in without.body.value


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"host": "localhost"}, "host"),
        ({"port": 0}, "port"),
        ({"port": 65536}, "port"),
        ({"request_timeout_s": 0.0}, "request_timeout_s"),
        ({"connect_timeout_s": -1.0}, "connect_timeout_s"),
        ({"linger_s": -0.1}, "linger_s"),
        ({"body_limit_bytes": 0}, "body_limit_bytes"),
        ({"max_connections": 0}, "max_connections"),
        ({"retries": 11}, "retries"),
    ],
)
def test_settings_out_of_range_name_the_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(model.Invalid, match=field) as caught:
        settings.Settings(**change)
    assert caught.value.field == field
