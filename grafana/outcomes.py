"""PURE. Of the dashboard *Rollouts*: how rollouts ended, why, and how fast the bad ones were found and taken back."""

from __future__ import annotations

from monitoring import names

from . import fields
from . import queries as q
from .dashboard import Row
from .fields import PLAIN, RATIO, SECONDS, TIME, Field, shade, steps
from .panels import Column, Panel, Target, bars, heat, stat, table


def _quantiles(metric: names.Metric) -> list[Target]:
    buckets = f"sum by (le) (increase({metric.name}_bucket[$__range]))"
    return [
        Target(q.or_zero(f"histogram_quantile({quantile}, {buckets}) >= 0"), f"p{quantile * 100:.0f}", now=True)
        for quantile in (0.5, 0.95)
    ]


def row() -> Row:
    detected = Target(f"sum by (le) (increase({names.DETECTION.name}_bucket[$__range]))", "{{le}}", now=True, format="heatmap")
    obeyed = Target(f"sum by (le) (increase({names.EXECUTION.name}_bucket[$__rate_interval]))", exemplar=True)
    ended = q.increase(q.sel(names.ROLLOUTS), "outcome, cause")
    all_ended = f"sum(increase({q.sel(names.ROLLOUTS)}[$__range]))"
    bad = f"sum(increase({q.sel(names.ROLLOUTS, outcome='!promoted')}[$__range]))"
    took = [
        Target(
            f"max by (outcome) (histogram_quantile(0.5, sum by (outcome, le) (increase({names.ROLLOUT_DURATION.name}_bucket[$__range]))) >= 0)",
            "{{outcome}}",
            now=True,
        )
    ]
    return Row(
        "Outcomes",
        (
            stat(
                "Detection",
                "From the first traffic of a bad version to the judge's decision, all models.",
                _quantiles(names.DETECTION),
                Field(SECONDS, steps(fields.GOOD, (60, fields.CAUTION), (600, fields.BAD))),
                w=4,
            ),
            stat(
                "Rollback",
                "From the decision, or a person's word, until all gateways had obeyed, all models.",
                _quantiles(names.EXECUTION),
                Field(SECONDS, steps(fields.GOOD, (1, fields.CAUTION), (5, fields.WORSE))),
                w=4,
            ),
            stat(
                "Not promoted",
                "Share of the rollouts that were rolled back or failed.",
                [Target(q.or_zero(f"{bad} / ({all_ended} > 0)"), now=True)],
                Field(RATIO, steps(fields.GOOD, (0.3, fields.CAUTION), (0.6, fields.BAD)), low=0, high=1, decimals=0),
                w=4,
            ),
            stat(
                "Median duration",
                "From the request to the end, by outcome, all models.",
                took,
                Field(SECONDS, shade(fields.NEUTRAL)),
                w=12,
            ),
            bars(
                "Detection: how often how long",
                "Rollbacks by the upper edge of their detection time, in seconds.",
                [detected],
                Field(PLAIN, shade(fields.NEUTRAL), low=0, decimals=0),
                w=6,
                h=9,
            ),
            heat(
                "Rollback: when and how long",
                "Until all gateways had obeyed. Each dot is one rollback: a click opens the trace of the pass that did it, or what the control plane "
                "knows of the rollout.",
                obeyed,
                Field(SECONDS, shade(fields.NEUTRAL)),
                w=6,
            ),
            bars(
                "Outcomes by reason",
                "Rollouts of this model that ended in the time that is looked at.",
                [Target(f"round({ended}) > 0", "{{outcome}}: {{cause}}", now=True)],
                Field(PLAIN, shade(fields.NEUTRAL), low=0, decimals=0),
                w=6,
                h=9,
            ),
            _events(),
        ),
    )


def _events() -> Panel:
    when = f"1000 * {q.latest(q.sel(names.TRANSITION), 'model_version, phase, cause')}"
    about = "When each version last entered each phase, within the time that is looked at. Everything else: `slipway history`."
    columns = [
        Column("Value", "when", Field(TIME, shade(fields.QUIET))),
        *(Column(name, title) for name, title in (("model_version", "version"), ("phase", "phase"), ("cause", "cause"))),
    ]
    return table("Events", about, [Target(when)], columns, w=6, h=9, sort=("when", True))
