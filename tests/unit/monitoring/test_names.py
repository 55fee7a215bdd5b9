"""Every metric we emit follows Prometheus' conventions, has bounded labels, and is named once."""

from __future__ import annotations

import re

import pytest

from monitoring import names

# `model` and `model_version` are as many as are in service; `route` are templates; `gateway` are the connected ones; the rest are closed sets.
BOUNDED = {
    *("model", "model_version", "route", "method", "code", "version", "gateway", "role", "source", "state", "phase", "cause"),
    *("reason", "outcome", "step", "label", "guard", "side", "bound", "strategy", "stage", "decision"),
    *("feature", "bin", "method", "kind"),  # of a profile: at most 100 features are shown, with at most 55 bins
}

each = pytest.mark.parametrize("metric", names.OURS, ids=lambda metric: metric.name)


@each
def test_the_name_tells_unit_and_kind(metric: names.Metric) -> None:
    assert re.fullmatch(r"slipway_[a-z][a-z0-9]*(_[a-z0-9]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is names.Kind.COUNTER)
    assert not re.search(r"_(ms|us|pct|percent|milliseconds|bucket|sum|count)(_|$)", metric.name), (
        "base units, no reserved endings"
    )
    assert not metric.name.endswith("_timestamp"), "a time is in seconds"


@each
def test_labels_are_bounded(metric: names.Metric) -> None:
    assert set(metric.labels) <= BOUNDED
    assert len(set(metric.labels)) == len(metric.labels)
    assert "le" not in metric.labels


@each
def test_it_is_explained(metric: names.Metric) -> None:
    assert metric.help
    assert "\n" not in metric.help


@each
def test_a_histogram_has_ascending_edges_and_nothing_else_has_any(metric: names.Metric) -> None:
    assert bool(metric.buckets) == (metric.kind is names.Kind.HISTOGRAM)
    assert list(metric.buckets) == sorted(set(metric.buckets))


def test_every_metric_is_listed_once() -> None:
    listed = [metric.name for metric in names.OURS]
    assert len(set(listed)) == len(listed)
    declared = {value.name for value in vars(names).values() if isinstance(value, names.Metric)}
    assert declared == set(listed) | {metric.name for metric in names.ENVOY}
