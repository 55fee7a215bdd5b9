"""PURE. What all dashboards share: the variable `model`, and marks where something happened to it.

The marks are Prometheus queries, so they need no token of Grafana and survive a new one. The control plane tells when a rollout entered its
phase; `last_over_time` finds phases that were shorter than the distance of two points.
"""

from __future__ import annotations

from monitoring import names

from . import queries as q
from .dashboard import Annotation, Variable
from .fields import BAD, CAUTION, GOOD, NEUTRAL, WORSE

ABOUT_MODEL = "The registered model"


def model(*, many: bool) -> Variable:
    return Variable("model", "Models" if many else "Model", ABOUT_MODEL, names.VERSION_INFO.name, many)


def marks(*, many: bool) -> tuple[Annotation, ...]:
    which = q.CHOSEN if many else q.ONE

    def phase(name: str, color: str, phases: str, text: str) -> Annotation:
        series = q.sel(names.TRANSITION, model=which, phase=f"~{phases}")
        by = "model, model_version, phase, cause"
        return Annotation(
            name, color, _times(series, by), text, "{{phase}}, cause: {{cause}}", ("model", "model_version", "cause")
        )

    step = _times(q.sel(names.STEP_SINCE, model=which), "model, model_version, step")
    firing = q.alerts("$model")
    since = firing.replace(q.ALERTS, q.ALERTS_SINCE).replace('alertstate="firing",', "")
    return (
        phase("Deploy", NEUTRAL, "starting", "{{model}} v{{model_version}} is started"),
        Annotation(
            "Step",
            CAUTION,
            step,
            "{{model}} v{{model_version}}: step {{step}}",
            "The split was acknowledged",
            ("model", "model_version"),
        ),
        phase("Promote", GOOD, "promoting|probation|promoted", "{{model}} v{{model_version}} is promoted"),
        phase("Rollback", WORSE, "rolling_back|rolled_back|failed", "{{model}} v{{model_version}} is taken back"),
        Annotation(
            "Alert",
            BAD,
            f"max by (alertname, model, severity) ({since} and ignoring (alertstate) {firing}) * 1000",
            "{{alertname}}",
            "{{severity}}: {{model}}",
            ("alertname", "severity"),
        ),
    )


def _times(series: str, by: str) -> str:
    """Milliseconds."""
    return f"max by ({by}) (last_over_time({series}[$__rate_interval])) * 1000"
