"""Envoy's statistics become samples; nothing but the models' own splits counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gateway import counts
from judge import bins
from judge.samples import InvalidSamples, Sample

A, B = "127.0.0.1:3001", "[::1]:3002"


def counter(
    what: str, value: int, replica: str = A, *, model: str = "m", version: str = "1", split: str = "split.epoch.17"
) -> Any:
    return {"name": f"slipway.{what}.model.{model}.version.{version}.kind.{split}.replica.{replica}", "value": value}


def histogram(what: str, totals: list[dict[str, float]], replica: str = A) -> Any:
    return {"name": f"slipway.{what}.model.m.version.1.kind.split.epoch.17.replica.{replica}", "totals": totals}


def bucket(lower_bound: float, width: float, count: int = 1) -> dict[str, float]:
    return {"lower_bound": lower_bound, "width": width, "count": count}


def test_only_split_routes_count() -> None:
    counters = [
        counter("requests", 10),
        counter("errors", 3),
        counter("requests", 4, B, version="2"),
        counter("requests", 5, "", version="2"),  # no replica was found
        counter("errors", 5, "", version="2"),
        counter("requests", 6, version="2", split="pinned.epoch.0"),
        counter("requests", 7, version="2", split="override.epoch.0"),
        counter("requests", 8, "", version=""),  # answered before a version was chosen
        counter("requests", 9, model="m.x"),
    ]
    assert counts.samples(counters, [], "edge@1") == {
        "m": (
            Sample("edge@1", 17, 1, 10, 3, A),
            Sample("edge@1", 17, 2, 5, 5, ""),
            Sample("edge@1", 17, 2, 4, 0, B),
        ),
        "m.x": (Sample("edge@1", 17, 1, 9, 0, A),),
    }


def test_a_model_may_be_named_like_a_counter() -> None:
    name = "a.version.1.kind.split.epoch.2.replica.b"
    found = counts.samples([counter("requests", 1, model=name, version="3", split="split.epoch.4")], [], "e")
    assert found == {name: (Sample("e", 4, 3, 1, 0, A),)}


def test_errors_read_before_their_request_are_capped() -> None:
    assert counts.samples([counter("requests", 1), counter("errors", 2)], [], "e")["m"] == (Sample("e", 17, 1, 1, 1, A),)


def test_those_who_hung_up_waited_at_least_so_long() -> None:
    """Milliseconds of them, microseconds of the answers; each at the replica that was asked."""
    measured = [
        histogram("latency", [bucket(460.0, 10.0, 3), bucket(15000.0, 1000.0, 1)]),
        histogram("abandoned", [bucket(15.0, 1.0, 2), bucket(1000.0, 100.0, 1)]),
        histogram("latency", [bucket(460.0, 10.0, 5)], B),
    ]
    one, other = counts.samples([counter("requests", 9), counter("requests", 5, B)], measured, "e")["m"]
    assert one.latency == tuple((int(bins.index_of(us)), n) for us, n in ((465.0, 3), (15000.0, 3), (1000000.0, 1)))
    assert (other.replica, other.latency) == (B, ((int(bins.index_of(465.0)), 5),))


@pytest.mark.parametrize("unit_us", [1.0, 1000.0])
def test_envoys_buckets_are_the_judges_bins(unit_us: float) -> None:
    """Every bucket of two significant digits, its bounds computed as libcircllhist does: with crooked decimals."""
    totals, expected = [], []
    for exponent in range(1, 9):
        for mantissa in range(10, 100):
            lower = mantissa / 10.0 * 10.0**exponent  # in microseconds
            totals.append(bucket(lower / unit_us * (1.0 - 2.0**-52), 10.0 ** (exponent - 1) / unit_us))
            expected.append((1 + (exponent - 1) * bins.PER_DECADE + mantissa - 10, 1))
    assert counts.latency_counts(totals, unit_us) == tuple(expected)
    assert [index for index, _ in expected] == list(range(1, bins.BINS))
    drawn_us = np.random.default_rng(1).integers(10, 10**8, 10_000)
    for latency_us in drawn_us[:200].tolist():  # what Envoy does with a number, in decimal
        digits = str(latency_us)
        totals = [bucket(float(digits[:2] + "0" * (len(digits) - 2)), 10.0 ** (len(digits) - 2))]
        assert counts.latency_counts(totals) == ((int(bins.index_of(latency_us)), 1),)


def test_the_ends_are_one_bin_each() -> None:
    fast = [bucket(0.0, 0.0), bucket(1.0, 0.1), bucket(9.9, 0.1, 2)]
    slow = [bucket(9.9e8, 1e7), bucket(1e9, 1e8), bucket(9e9, 1e8)]
    assert counts.latency_counts([*fast, *slow]) == ((0, 4), (bins.BINS - 1, 3))


def test_large_counts_stay_exact() -> None:
    assert counts.latency_counts([bucket(460.0, 10.0, 2**60 + 1)]) == ((int(bins.index_of(465.0)), 2**60 + 1),)


@pytest.mark.parametrize(
    ("counted", "measured"),
    [
        ([{"value": 1}], []),
        ([counter("requests", 1) | {"value": "many"}], []),
        ([counter("requests", 1) | {"name": 7}], []),
        ([counter("requests", 1)], [{"name": "slipway.latency.model.m.version.1.kind.split.epoch.1.replica."}]),
        ([counter("requests", 1)], [histogram("latency", [{"lower_bound": 1.0}])]),
        ([counter("requests", -1)], []),
        ([counter("requests", 1)], [histogram("latency", [bucket(460.0, 10.0, -1)])]),
        ("nonsense", []),
    ],
)
def test_garbage_is_told(counted: Any, measured: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        counts.samples(counted, measured, "e")


def test_impossible_counts_are_values_that_are_wrong() -> None:
    assert issubclass(InvalidSamples, ValueError)  # as the reader expects
