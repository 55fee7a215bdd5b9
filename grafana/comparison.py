"""PURE. Of the dashboard *Serving*: champion beside challenger, and where the time of their requests goes."""

from __future__ import annotations

from monitoring import names

from . import fields
from . import queries as q
from .dashboard import Row
from .fields import PLAIN, RATIO, REQUESTS_PER_SECOND, ROLES, SECONDS, Field, colored, shade, steps
from .panels import Panel, Search, Target, heat, lines, traces

OBJECTIVE_S = q.OBJECTIVE_MS / 1000
QUANTILES = (0.5, 0.95, 0.99)
LEGEND = "{{role}} v{{model_version}}"
SHARE = Field(RATIO, shade(fields.NEUTRAL), low=0, high=1)
ANSWER = Field(SECONDS, steps(fields.GOOD, (0.1, fields.CAUTION), (OBJECTIVE_S, fields.WORSE)), nothing="no traffic")


def beside() -> Row:
    def versions(expr: str) -> list[Target]:
        return [Target(q.with_role(expr), LEGEND)]

    within = f"{q.rate(q.sel(names.SPLIT_DURATION, '_bucket', le=f'{OBJECTIVE_S:g}'))} / ({q.rate(q.sel(names.SPLIT_DURATION, '_count'))} > 0)"
    apart = [Target(q.difference(q.latency(quantile)), f"p{quantile * 100:.0f}") for quantile in QUANTILES]
    latencies = [
        lines(
            f"Latency p{quantile * 100:.0f}",
            "Both versions in one panel, in microsecond-fine buckets, as the judge counts them.",
            versions(q.latency(quantile)),
            ANSWER,
            w=6,
            overrides=ROLES,
        )
        for quantile in QUANTILES
    ]
    return Row(
        "Champion beside challenger",
        (
            lines(
                "Split",
                "Share of the traffic per version, as the gateways have acknowledged it.",
                versions(f"max by ({q.BY_VERSION}) ({q.sel(names.WEIGHT, source='acked')})"),
                SHARE,
                w=6,
                stepped=True,
                overrides=ROLES,
            ),
            lines(
                "Requests",
                "Answered per second and version.",
                versions(q.requests()),
                Field(REQUESTS_PER_SECOND, shade(fields.NEUTRAL), low=0),
                w=6,
                overrides=ROLES,
            ),
            lines(
                "Errors",
                "Share of failed requests per version, as the judge counts them.",
                versions(q.judged_error_ratio()),
                Field(RATIO, steps(fields.GOOD, (0.001, fields.CAUTION), (0.02, fields.WORSE)), low=0),
                w=6,
                overrides=ROLES,
            ),
            lines(
                "Errors: difference",
                "Challenger's share of failed requests minus the champion's. Above zero the challenger is worse.",
                [Target(q.difference(q.judged_error_ratio()), "challenger - champion")],
                Field(RATIO, steps(fields.GOOD, (0.02, fields.WORSE))),
                w=6,
                limits=True,
                overrides=(colored("challenger - champion", fields.CHALLENGER),),
            ),
            *latencies,
            lines(
                "Latency: difference",
                "Challenger minus champion at three quantiles. Above zero the challenger is slower.",
                apart,
                Field(SECONDS, steps(fields.GOOD, (0.05, fields.WORSE))),
                w=6,
                limits=True,
            ),
            lines(
                "Within the objective",
                f"Share of answers within {q.OBJECTIVE_MS} ms, per version. Objective: 99 %.",
                versions(within),
                Field(RATIO, steps(fields.WORSE, (0.99, fields.GOOD)), high=1),
                w=24,
                h=6,
                limits=True,
                overrides=ROLES,
            ),
        ),
    )


def time_spent() -> Row:
    whole, server = q.mean(names.SPLIT_DURATION), q.mean(names.SERVER_DURATION)
    queue, model = q.mean(names.SERVER_STAGE, stage="queue"), q.mean(names.SERVER_STAGE, stage="inference")
    parts = {
        "model": model,
        "queue": queue,
        "server": f"clamp_min({server} - {queue} - {model}, 0)",
        "gateway": f"clamp_min({whole} - {server}, 0)",
    }
    colors = (
        colored("model", "purple"),
        colored("queue", fields.BAD),
        colored("server", fields.NEUTRAL),
        colored("gateway", fields.QUIET),
    )

    def spent(role: str) -> Panel:
        about = (
            f"Mean time of a request at the {role}, stacked: the model's call, waiting for a batch, the rest of the model server, and the way through "
            "the gateway. A request waits as long as the first of its batch at most."
        )
        asked = [Target(q.of_role(expr, role), name) for name, expr in parts.items()]
        return lines(
            f"Where the time goes: {role}",
            about,
            asked,
            Field(SECONDS, shade(fields.NEUTRAL), low=0),
            w=8,
            stacked=True,
            overrides=colors,
        )

    batches = Target(q.increase(q.sel(names.SERVER_BATCH, "_bucket"), "le", "$__rate_interval"))
    answers = Target(q.increase(q.sel(names.SERVER_DURATION, "_bucket"), "le", "$__rate_interval"), exemplar=True)
    return Row(
        "Where the time goes",
        (
            spent("champion"),
            spent("challenger"),
            heat(
                "Rows in a batch",
                "How many rows one call of the model was given.",
                batches,
                Field(PLAIN, shade(fields.NEUTRAL)),
                w=8,
                h=8,
                scheme="Blues",
            ),
            heat(
                "Latency",
                "Answers by how long the model servers took, all versions. Dots are single requests whose traces were kept; a click on one opens it.",
                answers,
                Field(SECONDS, shade(fields.NEUTRAL)),
                w=14,
            ),
            traces(
                "Slowest traces",
                "Of this model's requests whose traces were kept (1 % by default), the slowest of the last found. A click opens the trace: gateway, "
                "model server, queue, batch, inference.",
                Search('{ kind = server && span.model = "$model" }'),
                w=10,
                h=9,
            ),
        ),
    )
