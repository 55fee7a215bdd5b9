"""Envoy's statistics become samples; nothing but the model's own split counts."""

from __future__ import annotations

from gateway import counts
from judge import bins
from judge.samples import Sample

AT = ".replica.127.0.0.1:3001"


def test_only_the_split_route_of_the_model_counts() -> None:
    counters = {
        f"slipway.requests.model.m.version.1.kind.split.epoch.17{AT}": 10,
        f"slipway.errors.model.m.version.1.kind.split.epoch.17{AT}": 3,
        "slipway.requests.model.m.version.2.kind.split.epoch.17.replica.-": 4,
        f"slipway.requests.model.m.version.2.kind.pinned.epoch.0{AT}": 5,
        f"slipway.requests.model.m.version.2.kind.override.epoch.0{AT}": 6,
        "slipway.requests.model.m.version..kind.split.epoch.17.replica.-": 7,  # answered before a version was chosen
        f"slipway.requests.model.m.x.version.2.kind.split.epoch.17{AT}": 8,  # another model, its name begins the same
    }
    latencies = {f"slipway.latency.model.m.version.1.kind.split.epoch.17{AT}": ((5, 7),)}
    assert list(counts.samples(counts.Counted(counters, latencies), "edge@1", "m")) == [
        Sample("edge@1", 17, 1, 10, 3, replica="127.0.0.1:3001", latency=((5, 7),)),
        Sample("edge@1", 17, 2, 4, 0),
    ]


def test_a_model_may_be_named_like_a_counter() -> None:
    name = "a.version.1.kind.split.epoch.2.replica.b"
    counted = counts.Counted({f"slipway.requests.model.{name}.version.3.kind.split.epoch.4{AT}": 1}, {})
    assert list(counts.samples(counted, "e", name)) == [Sample("e", 4, 3, 1, 0, replica="127.0.0.1:3001")]
    assert list(counts.samples(counted, "e", "a")) == []


def test_errors_read_before_their_request_are_capped() -> None:
    counted = counts.Counted(
        {
            f"slipway.requests.model.m.version.1.kind.split.epoch.1{AT}": 1,
            f"slipway.errors.model.m.version.1.kind.split.epoch.1{AT}": 2,
        },
        {},
    )
    assert list(counts.samples(counted, "e", "m")) == [Sample("e", 1, 1, 1, 1, replica="127.0.0.1:3001")]


def test_envoys_buckets_are_the_judges_bins() -> None:
    lower_us = bins.lower_us()
    totals = [{"lower_bound": float(lower), "width": 1.0, "count": 1} for lower in lower_us[1:]]
    assert counts.binned(totals) == tuple((index, 1) for index in range(1, bins.BINS))
    crooked = [{"lower_bound": bound, "count": 2} for bound in (459.99999999999994, 509.99999999999994, 1299.9999999999998)]
    assert counts.binned(crooked) == tuple((int(bins.index_of(bound)), 2) for bound in (460.0, 510.0, 1300.0))


def test_what_is_faster_than_ten_microseconds_is_one_bin() -> None:
    assert counts.binned([{"lower_bound": float(us), "count": 1} for us in (0, 1, 2.5, 9.9, 10)]) == ((0, 4), (1, 1))
