"""PURE. Pieces of PromQL that several panels are made of. Names of metrics come from `monitoring/names.py`; those of recording rules are here.

`$model` is the dashboard's variable, `$__rate_interval` Grafana's: four scrapes at least, and never less than the distance of two points.
"""

from __future__ import annotations

from monitoring import names
from monitoring.names import Metric

BY_VERSION = "model, model_version"

ONE, CHOSEN = "$model", "~$model"

# Of monitoring/prometheus/rules.
REQUESTS_5M = "model:requests:rate5m"
ERRORS_5M = "model:errors:rate5m"
BURN = "model:slo_burn:ratio_rate"
NOW_P = "model_version:split_request_duration_seconds:p{}_rate5m"

# Of every process, and of Prometheus itself.
UP, CPU, MEMORY = "up", "process_cpu_seconds_total", "process_resident_memory_bytes"
ALERTS, ALERTS_SINCE = "ALERTS", "ALERTS_FOR_STATE"
FOREIGN = (UP, CPU, MEMORY, ALERTS, ALERTS_SINCE)

OBJECTIVE_MS = 250  # of monitoring/prometheus/rules/slo.yml
BURN_LIMITS = (1.0, 3.0, 6.0, 14.4)  # of its alerts


def sel(metric: Metric | str, part: str = "", /, **labels: str) -> str:
    """One model's series (with `model=CHOSEN`: of all that are chosen). Values that begin with ~ or ! are regular expressions or exclusions.
    part: `_bucket` and so on."""
    name = metric if isinstance(metric, str) else metric.name
    operators = {"~": "=~", "!": "!="}
    matchers = [
        f'{label}{operators.get(value[:1], "=")}"{value.lstrip("~!")}"' for label, value in ({"model": ONE} | labels).items()
    ]
    return f"{name}{part}{{{','.join(matchers)}}}"


def rate(series: str, by: str = BY_VERSION) -> str:
    return f"sum by ({by}) (rate({series}[$__rate_interval]))"


def increase(series: str, by: str, over: str = "$__range") -> str:
    return f"sum by ({by}) (increase({series}[{over}]))"


def latest(series: str, by: str) -> str:
    """The last value within the time that is looked at, though the series may be gone."""
    return f"max by ({by}) (last_over_time({series}[$__range]))"


def roles() -> str:
    """1 for each version in service, with its role."""
    return f"max by (model, model_version, role) ({sel(names.VERSION_INFO)})"


def with_role(expr: str) -> str:
    """Adds the label `role` to a value per version; versions that are not in service any more fall out."""
    return f"({expr}) * on (model, model_version) group_left (role) {roles()}"


def of_role(expr: str, role: str) -> str:
    """A value per version -> that of the version in this role, per model."""
    version = f"max by (model, model_version) ({sel(names.VERSION_INFO, role=role)})"
    return f"max by (model) (({expr}) * on (model, model_version) {version})"


def difference(expr: str) -> str:
    """Challenger minus champion."""
    return f"{of_role(expr, 'challenger')} - {of_role(expr, 'champion')}"


def quantile(q: float, series: str, by: str = BY_VERSION) -> str:
    return f"histogram_quantile({q:g}, {rate(series, f'{by}, le')})"


def latency(q: float) -> str:
    """Seconds, as the judge counts them: measured by the gateway, in microseconds."""
    return quantile(q, sel(names.SPLIT_DURATION, "_bucket"))


def requests(*, model: str = ONE, by: str = BY_VERSION) -> str:
    return rate(sel(names.ENVOY_REQUESTS, model=model), by)


def error_ratio(*, model: str = ONE, by: str = BY_VERSION) -> str:
    """Server errors among the answers. A class of codes has no series before its first answer: then it is zero."""
    bad = rate(sel(names.ENVOY_REQUESTS, model=model, envoy_response_code_class="5"), by)
    every = requests(model=model, by=by)
    return f"({bad} or 0 * {every}) / ({every} > 0)"


def judged_error_ratio() -> str:
    """The same per version as the judge counts it: from zero on, so that the first error of a version is not missed."""
    return f"{rate(sel(names.SPLIT_ERRORS))} / ({rate(sel(names.SPLIT_REQUESTS))} > 0)"


def mean(metric: Metric, by: str = BY_VERSION, **labels: str) -> str:
    """Seconds per observation."""
    return f"{rate(sel(metric, '_sum', **labels), by)} / ({rate(sel(metric, '_count', **labels), by)} > 0)"


def otherwise(expr: str, label: str, text: str) -> str:
    """Where there is nothing, one zero whose label says so."""
    return f'{expr} or on () label_replace(vector(0), "{label}", "{text}", "", "")'


def or_zero(expr: str) -> str:
    return f"({expr}) or on () vector(0)"


def numbered(version_of: str) -> str:
    """`model_version="3"` -> also `version="v3"`, which `none` can take the place of."""
    return f'label_replace({version_of}, "version", "v$1", "model_version", "(.+)")'


def coded(series: str, label: str, values: dict[str, int], by: str, *, model: str = ONE) -> str:
    """Several series of which one is there, told apart by a label -> one series, with the number that stands for the label's value."""
    one = (f"{number} * max by ({by}) ({sel(series, model=model, **{label: value})})" for value, number in values.items())
    return " or ".join(one)


def alerts(models: str) -> str:
    """Alerts of these models that fire. `$model|` is with those of the chain; the one that always fires is never among them."""
    return f'{ALERTS}{{alertstate="firing",alertname=~"Slipway.+",alertname!="SlipwayWatchdog",model=~"{models}"}}'
