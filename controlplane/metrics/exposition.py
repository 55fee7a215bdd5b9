"""Numbers -> the text that Prometheus reads: the plain format, or OpenMetrics, which alone carries exemplars.

Called by the recorder's frozen copy, in a thread. prometheus-client writes the few instruments; the many gauges of the models are
written here, in a tenth of its time, so that 200 models do not keep the loop from its work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics_text

from monitoring import names

from .families import Look, Row

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class _WithoutCreated:
    """The instruments, without the time at which each was made: twice the series, and nobody asks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


def text(registry: CollectorRegistry, rows: Iterable[Row], looks: Iterable[Look], *, openmetrics: bool) -> bytes:
    own = "".join(_written({**_gauges(rows), **_counted(looks)}, openmetrics=openmetrics)).encode()
    kept = _WithoutCreated(registry)
    if openmetrics:
        made: bytes = openmetrics_text.generate_latest(kept)  # type: ignore[no-untyped-call]
        return own + made  # which ends with "# EOF"
    return own + generate_latest(kept)


def _gauges(rows: Iterable[Row]) -> dict[names.Metric, list[str]]:
    """Every family is there from the start, even without a sample: whoever looks for a name finds it."""
    lines: dict[names.Metric, list[str]] = {metric: [] for metric in names.CONTROL_PLANE if metric.kind is names.Kind.GAUGE}
    for metric, value, values in rows:
        lines[metric].append(f"{metric.name}{_labels(metric.labels, values)} {float(value)}\n")
    return lines


def _counted(looks: Iterable[Look]) -> dict[names.Metric, list[str]]:
    requests: list[str] = []
    errors: list[str] = []
    duration: list[str] = []
    edges = (*(f"{edge}" for edge in names.ANSWER_S), "+Inf")
    name = names.SPLIT_DURATION.name
    for look in looks:
        for version, total in look.totals.items():
            values = (look.record.model, str(version))
            labels = _labels(names.SPLIT_REQUESTS.labels, values)
            requests.append(f"{names.SPLIT_REQUESTS.name}{labels} {total.requests}\n")
            errors.append(f"{names.SPLIT_ERRORS.name}{labels} {total.errors}\n")
            below = total.below()
            duration += [
                f'{name}_bucket{labels[:-1]},le="{edge}"}} {count}\n' for edge, count in zip(edges, below, strict=True)
            ]
            duration += [f"{name}_count{labels} {below[-1]}\n", f"{name}_sum{labels} {total.latency_sum_s}\n"]
    return {names.SPLIT_REQUESTS: requests, names.SPLIT_ERRORS: errors, names.SPLIT_DURATION: duration}


def _written(lines: dict[names.Metric, list[str]], *, openmetrics: bool) -> Iterator[str]:
    for metric, samples in lines.items():
        name, kind = metric.name, metric.kind.value
        if openmetrics and metric.kind is names.Kind.COUNTER:
            name = name.removesuffix("_total")
        if openmetrics and name.endswith("_info"):
            name, kind = name.removesuffix("_info"), "info"
        yield f"# HELP {name} {metric.help}\n# TYPE {name} {kind}\n"
        yield from samples


def _labels(labels: tuple[str, ...], values: tuple[str, ...]) -> str:
    """Values are names of models and words of ours; names are the only ones that could need escaping."""
    if not labels:
        return ""
    inner = ",".join(f'{label}="{value.translate(_ESCAPES)}"' for label, value in zip(labels, values, strict=True))
    return f"{{{inner}}}"
