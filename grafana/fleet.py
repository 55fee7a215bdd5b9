"""PURE. The dashboard *Fleet*: all models at a glance, and the chain that everything else hangs on: scrapes, loop, gateways, API."""

from __future__ import annotations

from monitoring import names

from . import fields, marks, words
from . import queries as q
from .dashboard import Dashboard, Row
from .fields import AGO, BYTES, PLAIN, RATIO, REQUESTS_PER_SECOND, SECONDS, Field, Json, shade, steps
from .panels import Column, Panel, Target, bars, lines, stat, table, timeline

COUNT = Field(PLAIN, shade(fields.NEUTRAL), decimals=0)
BURN = Field(PLAIN, steps(fields.GOOD, (1.0, fields.CAUTION), (6.0, fields.BAD), (14.4, fields.WORSE)), low=0, decimals=2)
ERRORS = Field(RATIO, steps(fields.GOOD, (0.001, fields.CAUTION), (0.01, fields.WORSE)), low=0, decimals=2)
MOST = 12  # lines in a panel


def _to(uid: str, title: str) -> Json:
    """A click on a model leads to its dashboard, with the same time."""
    return {"targetBlank": False, "title": title, "url": f"/d/{uid}?var-model=${{__data.fields.model}}&${{__url_time_range}}"}


LINKS = (_to("slipway-serving", "Serving"), _to("slipway-rollouts", "Rollouts"))


def _now() -> Row:
    def number(title: str, about: str, expr: str, field: Field = COUNT) -> Panel:
        return stat(title, about, [Target(expr, now=True)], field)

    chosen = q.sel(names.VERSION_INFO, model=q.CHOSEN, role="champion")
    bad = Field(PLAIN, steps(fields.GOOD, (1, fields.BAD)), decimals=0)
    errors, requests = f"sum({q.sel(q.ERRORS_5M, model=q.CHOSEN)})", f"sum({q.sel(q.REQUESTS_5M, model=q.CHOSEN)})"
    success = Field(RATIO, steps(fields.WORSE, (0.99, fields.CAUTION), (0.999, fields.GOOD)), decimals=2, nothing="no traffic")
    return Row(
        "Now",
        (
            number("Models", "That have a champion.", q.or_zero(f"count({chosen})")),
            number("Open rollouts", "Of these models.", q.or_zero(f"count({q.sel(names.PHASE, model=q.CHOSEN)})")),
            number(
                "Held rollouts",
                "That do not advance.",
                q.or_zero(f"count(count by (model) ({q.sel(names.HOLD, model=q.CHOSEN)}))"),
                bad,
            ),
            number("Alerts", "That fire now, of models and of the chain.", q.or_zero(f"count({q.alerts('$model|')})"), bad),
            number(
                "Gateways",
                "Connected to the control plane.",
                f"sum({names.GATEWAYS.name})",
                Field(PLAIN, steps(fields.WORSE, (1, fields.GOOD)), decimals=0),
            ),
            number(
                "Requests",
                "Answered per second over 5 minutes.",
                q.or_zero(requests),
                Field(REQUESTS_PER_SECOND, shade(fields.NEUTRAL), decimals=1),
            ),
            number("Success", "Answers over 5 minutes that are no server errors.", f"1 - {errors} / ({requests} > 0)", success),
            number(
                "Fastest burn",
                "Of all models and objectives over an hour.",
                q.or_zero(f"max({q.sel(q.BURN + '1h', model=q.CHOSEN)})"),
                BURN,
            ),
        ),
    )


def _models() -> Row:
    def info(role: str) -> Target:
        named = (
            f'label_replace({q.sel(names.VERSION_INFO, model=q.CHOSEN, role=role)}, "{role}", "v$1", "model_version", "(.+)")'
        )
        return Target(f"max by (model, {role}) ({named})")

    promoted = q.sel(names.ENDED, model=q.CHOSEN, outcome="promoted")
    slow = "max by (model) (" + q.sel(q.NOW_P.format("99"), model=q.CHOSEN) + ")"
    targets = (
        info("champion"),
        Target(f"1000 * max by (model) (max_over_time({promoted}[31d]))"),
        Target(q.sel(q.REQUESTS_5M, model=q.CHOSEN)),
        Target(f"{q.sel(q.ERRORS_5M, model=q.CHOSEN)} / ({q.sel(q.REQUESTS_5M, model=q.CHOSEN)} > 0)"),
        Target(slow),
        Target(f"max by (model) ({q.sel(q.BURN + '1h', model=q.CHOSEN)})"),
        Target(f"1 - max by (model) ({q.sel(q.BURN + '30d', model=q.CHOSEN)})"),
        info("challenger"),
        Target(f"max by (model, phase) ({q.sel(names.PHASE, model=q.CHOSEN)})"),
        Target(f"count by (model) ({q.sel(names.HOLD, model=q.CHOSEN)})"),
        Target(f"1000 * topk by (model) (1, max by (model, outcome) ({q.sel(names.ENDED, model=q.CHOSEN)}))"),
    )
    budget = Field(RATIO, steps(fields.WORSE, (0.0, fields.BAD), (0.25, fields.CAUTION), (0.5, fields.GOOD)), decimals=1)
    latency = Field(SECONDS, steps(fields.GOOD, (0.1, fields.CAUTION), (q.OBJECTIVE_MS / 1000, fields.WORSE)))
    columns = (
        Column("model", "model", links=LINKS),
        Column("champion", "champion"),
        Column("B", "promoted", Field(AGO, shade(fields.QUIET))),
        Column("C", "requests", Field(REQUESTS_PER_SECOND, shade(fields.NEUTRAL), decimals=1)),
        Column("D", "errors", ERRORS, "color-text"),
        Column("E", "p99", latency, "color-text"),
        Column("F", "burn 1h", BURN, "color-background"),
        Column("G", "budget left", budget, "color-text"),
        Column("challenger", "challenger"),
        Column("phase", "phase"),
        Column("J", "holds", Field(PLAIN, steps(fields.GOOD, (1, fields.BAD)), decimals=0), "color-background"),
        Column("outcome", "last rollout"),
        Column("K", "ended", Field(AGO, shade(fields.QUIET))),
    )
    about = (
        "One line per model; a click leads to its own dashboards. Promoted: when the champion's rollout ended, if that was in the last 31 days. Burn and "
        "budget: the worse of the two objectives."
    )
    return Row(
        "Models",
        (table("Models", about, targets, columns, h=7, sort=("burn 1h", True), hidden=("Value #A", "Value #H", "Value #I")),),
    )


def _traffic() -> Row:
    def top(expr: str) -> list[Target]:
        return [Target(f"topk({MOST}, {expr})", "{{model}}")]

    errors = q.error_ratio(model=q.CHOSEN, by="model")
    burn = [Target(f"topk({MOST}, max by (model, slo) ({q.sel(q.BURN + '1h', model=q.CHOSEN)}))", "{{model}} {{slo}}")]
    slow = f"max by (model) ({q.sel(q.NOW_P.format('99'), model=q.CHOSEN)})"
    return Row(
        "Traffic",
        (
            lines(
                "Requests",
                f"Answered per second; the {MOST} busiest.",
                top(q.requests(model=q.CHOSEN, by="model")),
                Field(REQUESTS_PER_SECOND, shade(fields.NEUTRAL), low=0),
                w=6,
            ),
            lines("Errors", f"Share of server errors; the {MOST} worst.", top(errors), ERRORS, w=6),
            lines(
                "Latency p99",
                f"Over 5 minutes, of the slowest version in service; the {MOST} slowest.",
                top(slow),
                Field(SECONDS, steps(fields.GOOD, (0.25, fields.WORSE)), low=0),
                w=6,
                limits=True,
            ),
            lines(
                "Burn rate over 1 h",
                f"The {MOST} fastest, with the limits 1, 6 and 14.4.",
                burn,
                BURN,
                w=6,
                limits=True,
                scale="symlog",
            ),
        ),
    )


def _rollouts() -> Row:
    phase = q.coded(names.PHASE.name, "phase", words.OPEN, "model", model=q.CHOSEN)
    states = [Target(f"{phase} or 0 * max by (model) ({q.sel(names.PASS_AGE, model=q.CHOSEN)})", "{{model}}")]
    held = q.otherwise(f"max by (model, reason) ({q.sel(names.HOLD, model=q.CHOSEN)})", "reason", "nothing is held")
    ended = q.increase(q.sel(names.ROLLOUTS, model=q.CHOSEN), "outcome, cause")
    return Row(
        "Rollouts",
        (
            timeline(
                "Open rollouts", "Phase per model.", states, Field(PLAIN, shade(fields.QUIET), words=words.PHASES), w=12, h=8
            ),
            table(
                "Held",
                "Which rollouts do not advance, and why; see docs/operate.md.",
                [Target(held)],
                [Column("model", "model", links=LINKS), Column("reason", "reason")],
                w=5,
                hidden=("Value",),
            ),
            bars(
                "Outcomes by reason",
                "Rollouts that ended in the time that is looked at.",
                [Target(f"round({ended}) > 0", "{{outcome}}: {{cause}}", now=True)],
                Field(PLAIN, shade(fields.NEUTRAL), low=0, decimals=0),
                w=7,
            ),
        ),
    )


def _chain() -> Row:
    pass_buckets = f"sum by (le) (rate({names.PASS_DURATION.name}_bucket[$__rate_interval]))"
    api_buckets = f"sum by (le) (rate({names.HTTP_DURATION.name}_bucket[$__rate_interval]))"
    up = Field(PLAIN, shade(fields.GOOD), words=(fields.Word(0, "down", fields.WORSE), fields.Word(1, "up", fields.GOOD)))
    failed = q.or_zero(f"sum(increase({names.PASS_FAILURES.name}[$__rate_interval]))")
    decided = q.otherwise(f"sum by (decision) (increase({names.ALERTS.name}[$__range]))", "decision", "none came")
    notified = q.otherwise(f"sum by (outcome) (increase({names.NOTIFICATIONS.name}[$__range]))", "outcome", "none sent")
    lost = f"sum(increase({names.SPANS_LOST.name}[$__range])) + (sum(increase({names.SERVER_SPANS_LOST.name}[$__range])) or vector(0))"
    return Row(
        "The chain",
        (
            timeline(
                "Scrapes",
                "Whether Prometheus reaches every target of each kind. A replica that has just been stopped is red until discovery leaves it out.",
                [Target(f'min by (job) ({q.UP}{{job=~"slipway-.+|prometheus"}})', "{{job}}")],
                up,
                w=8,
                h=8,
            ),
            lines(
                "Loop: oldest look",
                "Since the loop last looked at the model that it looked at least recently. It looks every 15 s at least.",
                [Target(f"max({names.PASS_AGE.name})", "age"), Target(failed, "failures")],
                Field(SECONDS, steps(fields.GOOD, (60, fields.WORSE)), low=0),
                w=5,
                limits=True,
                overrides=(fields.colored("failures", fields.WORSE, unit=PLAIN),),
            ),
            lines(
                "Loop: one look",
                "How long a look at one model takes; diamonds lead to the traces of those that changed something.",
                [
                    Target(f"histogram_quantile({quantile:g}, {pass_buckets})", f"p{quantile * 100:.0f}", exemplar=True)
                    for quantile in (0.5, 0.99)
                ],
                Field(SECONDS, steps(fields.GOOD, (1, fields.WORSE)), low=0),
                w=5,
            ),
            lines(
                "Routing",
                "Models whose newest routing all gateways have, and those whose routing is refused or under way.",
                [Target(f"count by (state) ({names.GATEWAY_ACK.name})", "{{state}}")],
                COUNT,
                w=6,
                stepped=True,
            ),
            lines(
                "API requests",
                "Per second, by code.",
                [Target(f"sum by (code) (rate({names.HTTP_REQUESTS.name}[$__rate_interval]))", "{{code}}")],
                Field(REQUESTS_PER_SECOND, shade(fields.NEUTRAL), low=0),
                w=5,
            ),
            lines(
                "API latency",
                "Until the answer began; diamonds lead to traces.",
                [
                    Target(f"histogram_quantile({quantile:g}, {api_buckets})", f"p{quantile * 100:.0f}", exemplar=True)
                    for quantile in (0.5, 0.99)
                ],
                Field(SECONDS, steps(fields.GOOD, (1, fields.WORSE)), low=0),
                w=5,
            ),
            lines(
                "CPU",
                "Seconds per second; gateways and replicas are not among them.",
                [
                    Target(
                        f'sum by (job) (rate({q.CPU}{{job=~"slipway-controlplane|prometheus"}}[$__rate_interval]))',
                        "{{job}}",
                    )
                ],
                Field(RATIO, steps(fields.GOOD, (0.8, fields.WORSE)), low=0),
                w=5,
            ),
            lines(
                "Memory",
                "Resident; a gateway's is what it has allocated.",
                [
                    Target(f'sum by (job) ({q.MEMORY}{{job=~"slipway-controlplane|prometheus"}})', "{{job}}"),
                    Target(f"sum by (gateway) ({names.ENVOY_MEMORY.name})", "gateway {{gateway}}"),
                ],
                Field(BYTES, shade(fields.NEUTRAL), low=0),
                w=5,
            ),
            bars(
                "In and out",
                "In the time that is looked at: alerts that came by the webhook, by what was made of them; notifications, by how they ended; spans lost.",
                [
                    Target(decided, "alert: {{decision}}", now=True),
                    Target(notified, "notification: {{outcome}}", now=True),
                    Target(lost, "spans lost", now=True),
                ],
                Field(PLAIN, shade(fields.NEUTRAL), low=0, decimals=0),
                w=4,
            ),
        ),
    )


DASHBOARD = Dashboard(
    uid="slipway-fleet",
    title="Fleet",
    description="All models at a glance: champion, age, traffic, burn, last rollout, holds; and the chain behind them.",
    rows=(_now(), _models(), _traffic(), _rollouts(), _chain()),
    variables=(marks.model(many=True),),
    annotations=marks.marks(many=True),
    since="now-3h",
)
