"""Prometheus' text format into OpenMetrics: the same numbers, and the exemplars where they belong."""

from __future__ import annotations

import prometheus_client
from prometheus_client.openmetrics import parser
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from bentos.mlflow_model.scoring import openmetrics

TRACED = openmetrics.Exemplar(0xAB12, 0.0034, 1764250000.25)


def text() -> str:
    registry = prometheus_client.CollectorRegistry()
    requests = prometheus_client.Counter("requests", 'Requests, "all"\nof them', ["code"], registry=registry)
    requests.labels("200").inc(3)
    requests.labels('a "model"\\').inc()
    prometheus_client.Gauge("up", "Is it?", registry=registry).set(1)
    took = prometheus_client.Histogram("took_seconds", "Time", ["model"], buckets=(0.001, 0.005, 1.0), registry=registry)
    for value in (0.0005, 0.0034, 0.2, 7.0):
        took.labels("m").observe(value)
    prometheus_client.Histogram("other_seconds", "Time", buckets=(0.005,), registry=registry).observe(0.001)
    written: str = prometheus_client.generate_latest(registry).decode()
    return written


def samples(made: str) -> list[Sample]:
    parsed = parser.text_string_to_metric_families(made)  # type: ignore[no-untyped-call]
    return [sample for family in parsed for sample in family.samples]


def test_numbers_and_words_are_the_same() -> None:
    plain = [family for family in text_string_to_metric_families(text()) if not family.name.endswith("_created")]
    rich = list(parser.text_string_to_metric_families(openmetrics.converted(text(), "took_seconds", {})))  # type: ignore[no-untyped-call]
    assert [(one.name, one.type, one.documentation) for one in rich] == [
        (one.name, one.type, one.documentation) for one in plain
    ]
    assert [one.samples for one in rich] == [one.samples for one in plain]


def test_an_exemplar_stands_at_its_bucket_and_at_no_other() -> None:
    made = openmetrics.converted(text(), "took_seconds", {"0.005": TRACED})
    (marked,) = [sample for sample in samples(made) if sample.exemplar is not None]
    assert (marked.name, marked.labels["le"]) == ("took_seconds_bucket", "0.005")
    assert marked.exemplar is not None
    assert marked.exemplar.timestamp is not None
    assert marked.exemplar.labels == {"trace_id": f"{0xAB12:032x}"}
    assert (marked.exemplar.value, float(marked.exemplar.timestamp)) == (0.0034, 1764250000.25)


def test_also_at_the_last_bucket_and_where_the_text_has_no_help() -> None:
    made = openmetrics.converted('# TYPE t histogram\nt_bucket{le="+Inf"} 1\nt_count 1\nt_sum 9\n', "t", {"+Inf": TRACED})
    assert [sample.exemplar is not None for sample in samples(made)] == [True, False, False]


def test_what_has_no_type_is_unknown() -> None:
    (family,) = parser.text_string_to_metric_families(openmetrics.converted("# TYPE x untyped\nx 1\n", "t", {}))  # type: ignore[no-untyped-call]
    assert (family.type, family.samples[0].value) == ("unknown", 1)
