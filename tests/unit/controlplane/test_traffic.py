"""What the traffic meter makes of the counts of several replicas."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from controlplane.api import services
from controlplane.traffic import TrafficMeter
from judge.samples import Sample

NOW = datetime(2026, 1, 1, tzinfo=UTC)
A, B, NOBODY = "127.0.0.1:3001", "127.0.0.1:3002", ""


def test_the_replicas_of_a_version_are_counted_together_and_each_from_its_own_base() -> None:
    meter = TrafficMeter()
    meter.feed("m", NOW, (Sample("g", 1, 1, 100, 1, A), Sample("g", 1, 1, 10, 0, B), Sample("g", 1, 2, 5, 0, A)))
    later = (
        Sample("g", 1, 1, 130, 1, A),
        Sample("g", 1, 1, 30, 2, B),
        Sample("g", 1, 2, 15, 0, A),  # the address of a replica may be used again by another version
        Sample("g", 1, 2, 40, 40, NOBODY),
    )
    meter.feed("m", NOW + timedelta(seconds=10), later)
    seen = meter.traffic("m")
    assert seen.requests_per_s == 10.0
    assert seen.versions == (services.ObservedVersion(1, 50, 2, 50.0), services.ObservedVersion(2, 50, 40, 50.0))
