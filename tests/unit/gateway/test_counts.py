"""Counter names of Envoy become samples; nothing but the model's own split counts."""

from __future__ import annotations

from gateway import counts
from judge.samples import Sample


def test_only_the_split_route_of_the_model_counts() -> None:
    counters = {
        "slipway.requests.model.m.version.1.kind.split.epoch.17": 10,
        "slipway.errors.model.m.version.1.kind.split.epoch.17": 3,
        "slipway.requests.model.m.version.2.kind.split.epoch.17": 4,
        "slipway.requests.model.m.version.2.kind.pinned.epoch.0": 5,
        "slipway.requests.model.m.version.2.kind.override.epoch.0": 6,
        "slipway.requests.model.m.version..kind.split.epoch.17": 7,  # answered before a version was chosen
        "slipway.requests.model.m.x.version.2.kind.split.epoch.17": 8,  # another model, its name begins the same
    }
    assert list(counts.samples(counters, "edge@1", "m")) == [Sample("edge@1", 17, 1, 10, 3), Sample("edge@1", 17, 2, 4, 0)]


def test_a_model_may_be_named_like_a_counter() -> None:
    name = "a.version.1.kind.split.epoch.2"
    counters = {f"slipway.requests.model.{name}.version.3.kind.split.epoch.4": 1}
    assert list(counts.samples(counters, "e", name)) == [Sample("e", 4, 3, 1, 0)]
    assert list(counts.samples(counters, "e", "a")) == []


def test_errors_read_before_their_request_are_capped() -> None:
    counters = {
        "slipway.requests.model.m.version.1.kind.split.epoch.1": 1,
        "slipway.errors.model.m.version.1.kind.split.epoch.1": 2,
    }
    assert list(counts.samples(counters, "e", "m")) == [Sample("e", 1, 1, 1, 1)]
