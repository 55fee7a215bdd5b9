"""PURE. The dashboard *Serving*: which version of a model serves, how well, beside which challenger, and where its time goes."""

from __future__ import annotations

from monitoring import names

from . import comparison, fields, marks
from . import queries as q
from .comparison import ANSWER, LEGEND, QUANTILES
from .dashboard import Dashboard, Row
from .fields import PLAIN, RATIO, REQUESTS_PER_SECOND, ROLES, Field, dashed, shade, steps
from .panels import Column, Panel, Target, bars, lines, stat, table

SUCCESS = Field(RATIO, steps(fields.WORSE, (0.99, fields.CAUTION), (0.999, fields.GOOD)), decimals=2, nothing="no traffic")
BUDGET = Field(RATIO, steps(fields.WORSE, (0.0, fields.BAD), (0.25, fields.CAUTION), (0.5, fields.GOOD)), decimals=1, high=1)
BURN = Field(
    PLAIN,
    steps(fields.GOOD, *zip(q.BURN_LIMITS, (fields.CAUTION, fields.CAUTION, fields.BAD, fields.WORSE), strict=True)),
    low=0,
    decimals=2,
)
WINDOWS = ("5m", "1h", "6h", "1d", "3d")


def _now() -> Row:
    champion = q.numbered(f"max by (model_version) ({q.sel(names.VERSION_INFO, role='champion')})")
    challenger = q.numbered(f"max by (model_version) ({q.sel(names.VERSION_INFO, role='challenger')})")
    share = q.of_role(f"max by ({q.BY_VERSION}) ({q.sel(names.WEIGHT, source='acked')})", "challenger")
    recent = [
        Target(
            q.or_zero(f"max by (model) ({q.sel(q.NOW_P.format(f'{quantile * 100:.0f}'))})"), f"p{quantile * 100:.0f}", now=True
        )
        for quantile in QUANTILES
    ]
    success = f"1 - {q.sel(q.ERRORS_5M)} / ({q.sel(q.REQUESTS_5M)} > 0)"
    burn = f"max by (slo) ({q.sel(q.BURN + '30d')})"
    return Row(
        "Now",
        (
            stat(
                "Champion",
                "The version that serves by default.",
                [Target(q.otherwise(champion, "version", "none"), "{{version}}", now=True)],
                Field(PLAIN, shade(fields.CHAMPION)),
                text="name",
            ),
            stat(
                "Challenger",
                "The version on trial.",
                [Target(q.otherwise(challenger, "version", "none"), "{{version}}", now=True)],
                Field(PLAIN, shade(fields.CHALLENGER)),
                text="name",
            ),
            stat(
                "Challenger's share",
                "Of the traffic, as the gateways have acknowledged it.",
                [Target(q.or_zero(share), now=True)],
                Field(RATIO, shade(fields.CHALLENGER), low=0, high=1),
            ),
            stat(
                "Requests",
                "Answered per second over 5 minutes, all versions.",
                [Target(q.or_zero(q.sel(q.REQUESTS_5M)), now=True)],
                Field(REQUESTS_PER_SECOND, shade(fields.NEUTRAL), decimals=1),
            ),
            stat(
                "Success",
                "Answers over 5 minutes that are no server errors. Objective: 99.9 %.",
                [Target(success, now=True)],
                SUCCESS,
            ),
            stat(
                "Latency",
                "Quantiles over 5 minutes, of the slowest version in service, measured by the gateway.",
                recent,
                ANSWER,
                w=5,
            ),
            stat(
                "Error budget left",
                "Of the 30 days up to now. Below zero the objective is missed.",
                [Target(f"1 - {burn}", "{{slo}}", now=True)],
                BUDGET,
                w=4,
            ),
        ),
    )


def _slo() -> Row:
    def burning(slo: str, about: str) -> Panel:
        asked = [Target(f"max by (slo) ({q.sel(q.BURN + window, slo=slo)})", window) for window in WINDOWS]
        return lines(f"Burn rate: {slo}", about, asked, BURN, w=8, limits=True, scale="symlog")

    firing = q.otherwise(f"max by (alertname, severity, slo, model_version) ({q.alerts('$model|')})", "alertname", "none")
    left = f"1 - max by (slo) ({q.sel(q.BURN + '30d')})"
    limits = "Lines at 1 (the budget lasts 30 days), 3, 6 and 14.4: where the alerts begin, each over its two windows."
    return Row(
        "Objectives",
        (
            burning("availability", f"How many times too fast server errors use up the budget of 0.1 %. {limits}"),
            burning("latency", f"The same for answers after {q.OBJECTIVE_MS} ms, of which 1 % may be. {limits}"),
            lines(
                "Error budget left",
                "Share of the 30-day budget that is not used up yet.",
                [Target(left, "{{slo}}")],
                BUDGET,
                w=4,
                limits=True,
            ),
            table(
                "Alerts",
                "Those of this model that fire now, and those of the chain itself.",
                [Target(firing)],
                [
                    Column("alertname", "alert"),
                    Column("severity", "severity"),
                    Column("model_version", "version"),
                    Column("slo", "objective"),
                ],
                w=4,
                hidden=("Value", "model_version", "slo"),
            ),
        ),
    )


def _saturation() -> Row:
    waiting = [
        Target(q.with_role(f"sum by ({q.BY_VERSION}) ({q.sel(names.ENVOY_ACTIVE)})"), LEGEND),
        Target(f"sum by (model) ({q.sel(names.ENVOY_PENDING)})", "waiting"),
    ]
    busy = f"{q.rate(q.sel(names.SERVER_STAGE, '_sum', stage='inference'))} / on (model, model_version) (max by ({q.BY_VERSION}) ({q.sel(names.REPLICAS_READY)}) > 0)"
    trouble = [
        Target(f"sum by (model) (increase({q.sel(metric)}[$__rate_interval]))", what)
        for metric, what in (
            (names.ENVOY_OVERFLOW, "refused: too many under way"),
            (names.ENVOY_TIMEOUTS, "timed out"),
            (names.ENVOY_RETRIES, "sent again"),
            (names.ENVOY_REFUSED, "connection not taken"),
        )
    ]
    ready, wanted = (f"sum by ({q.BY_VERSION}) ({q.sel(metric)})" for metric in (names.REPLICAS_READY, names.REPLICAS_WANTED))
    replicas = [Target(q.with_role(ready), LEGEND), Target(f"sum by (model) ({wanted} - {ready})", "missing")]
    codes = Target(
        q.increase(q.sel(names.ENVOY_REQUESTS), "envoy_response_code_class"), "{{envoy_response_code_class}}xx", now=True
    )
    return Row(
        "Saturation",
        (
            lines(
                "Replicas",
                "Ready, per version; and how many are missing of all that are wanted.",
                replicas,
                Field(PLAIN, shade(fields.NEUTRAL), low=0, decimals=0),
                w=5,
                stepped=True,
                overrides=(*ROLES, dashed("missing", fields.WORSE)),
            ),
            lines(
                "Model threads busy",
                "Seconds per second that a replica's model computes. Near 1 requests queue up: add replicas.",
                [Target(q.with_role(busy), LEGEND)],
                Field(RATIO, steps(fields.GOOD, (0.7, fields.CAUTION), (0.9, fields.WORSE)), low=0),
                w=5,
                limits=True,
                overrides=ROLES,
            ),
            lines(
                "Requests under way",
                "At the gateway, per version; dashed: those of all that wait for a connection to a replica.",
                waiting,
                Field(PLAIN, shade(fields.NEUTRAL), low=0),
                w=5,
                overrides=(*ROLES, dashed("waiting", fields.WORSE)),
            ),
            lines(
                "Trouble at the gateway",
                "Requests refused, timed out or sent again, and connections that a replica did not take, per point.",
                trouble,
                Field(PLAIN, steps(fields.GOOD, (1, fields.CAUTION)), low=0),
                w=5,
            ),
            bars(
                "Answers by class",
                "Of the time that is looked at.",
                [codes],
                Field(PLAIN, shade(fields.NEUTRAL), low=0, decimals=0),
                w=4,
            ),
        ),
    )


DASHBOARD = Dashboard(
    uid="slipway-serving",
    title="Serving",
    description="One model: which version serves, its objectives, champion beside challenger, where the time goes.",
    rows=(_now(), _slo(), comparison.beside(), comparison.time_spent(), _saturation()),
    variables=(marks.model(many=False),),
    annotations=marks.marks(many=False),
)
