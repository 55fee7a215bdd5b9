"""PURE. The dashboard *Drift & quality*: whether a model's data are what it learned from, what moved, whether that does harm, and what is broken."""

from __future__ import annotations

from dataclasses import replace

from monitoring import names

from . import fields, marks, words
from . import queries as q
from .dashboard import Box, Dashboard, Row
from .fields import PLAIN, RATIO, ROLES, SECONDS, Field, Json, Override, shade, steps
from .panels import Column, Panel, Target, lines, stat, table, timeline

MOST = 10  # columns in a picture; the table has all that are told
LEGEND = "{{role}} v{{model_version}}"
PREDICTION = "prediction"  # the column of that name is the model's answers
JUDGED = "prediction_shift|quality|disagreement"  # guards of a rollout that look at answers
HARM = Field(PLAIN, steps(fields.GOOD, (0.5, fields.CAUTION), (1.0, fields.WORSE)), low=0, decimals=2)
BEYOND = Field(PLAIN, steps(fields.GOOD, (1.0, fields.BAD)), low=0, decimals=2)
SHARE = Field(RATIO, steps(fields.GOOD, (0.1, fields.CAUTION), (0.3, fields.BAD)), low=0, decimals=1)
COUNT = Field(PLAIN, shade(fields.NEUTRAL), decimals=0)
API = Box("api", "Control plane", "Where a browser finds slipway's API: for links to reports", "http://127.0.0.1:8700")
ALARMS = "Slipway(Data|Drift|Counting).+"  # of monitoring/prometheus/rules/drift.yml


def _report(version: str) -> Json:
    """A click leads to the newest report in depth of a version. version: what Grafana calls it there."""
    page = f"models/${{model:percentencode}}/versions/{version}/drift/reports/latest/report.html"
    return {"targetBlank": True, "title": "Report in depth", "url": f"${{api:raw}}/api/v1/{page}"}


def _of(role: str, series: str, by: str) -> str:
    """Those of the version in this role."""
    version = f"max by (model, model_version) ({q.sel(names.VERSION_INFO, role=role)})"
    return f"max by ({by}) ({series} * on (model, model_version) group_left () {version})"


def _now() -> Row:
    def verdict(role: str) -> Panel:
        found = q.otherwise(_of(role, q.sel(names.DRIFT_VERDICT), "label, model_version"), "label", "not judged")
        return stat(
            f"Verdict: {role}",
            "On the newest window of its data, against what it learned from. A click leads to the report.",
            [Target(found, "{{label}}", now=True)],
            Field(PLAIN, shade(fields.CHAMPION if role == "champion" else fields.CHALLENGER)),
            text="name",
            overrides=(Override("/.*/", {"links": [_report("${__field.labels.model_version}")]}),),
        )

    def number(title: str, about: str, expr: str, field: Field) -> Panel:
        return stat(title, about, [Target(q.or_zero(expr), now=True)], field)

    def champion(metric: names.Metric) -> str:
        return _of("champion", q.sel(metric), "model")

    beyond = _of("champion", q.sel(names.DRIFT_BEYOND), "model, feature")
    return Row(
        "Now",
        (
            verdict("champion"),
            verdict("challenger"),
            number(
                "Harm",
                "How far predictions, or features that matter, moved at the champion; harmful from 1.",
                champion(names.DRIFT_HARM),
                HARM,
            ),
            number("Columns that drift", "At the champion: beyond their calibrated thresholds.", f"count({beyond} > 1)", COUNT),
            number(
                "Worst integrity",
                "Largest share of null, unseen, outside or far values in one column.",
                champion(names.DRIFT_INTEGRITY),
                SHARE,
            ),
            number("Rows judged", "In the champion's newest window.", champion(names.DRIFT_WINDOW_ROWS), COUNT),
            number(
                "Window",
                "From its first row to its last.",
                champion(names.DRIFT_WINDOW_S),
                Field(SECONDS, shade(fields.NEUTRAL)),
            ),
            stat(
                "Since the last look",
                "Since the champion was last judged.",
                [Target(champion(names.DRIFT_AGE), now=True)],
                Field(SECONDS, shade(fields.NEUTRAL), nothing="never"),
            ),
        ),
    )


def _course() -> Row:
    moved = f"max by ({q.BY_VERSION}) ({q.sel(names.DRIFT_MOVED, feature=PREDICTION)})"
    harm = f"max by ({q.BY_VERSION}) ({q.sel(names.DRIFT_HARM)})"
    firing = f'{q.ALERTS}{{alertstate="firing",alertname=~"{ALARMS}",model="$model"}}'
    verdicts = q.coded(names.DRIFT_VERDICT.name, "label", words.DRIFTS, "model_version")
    rows = q.rate(q.sel(names.PREDICTION_ROWS))
    return Row(
        "Verdict",
        (
            timeline(
                "Verdicts",
                "Per version.",
                [Target(verdicts, "v{{model_version}}")],
                Field(PLAIN, shade(fields.QUIET), words=words.DRIFT),
                w=16,
                h=5,
            ),
            table(
                "Alarms",
                "Alerts on this model's data that fire now.",
                [Target(q.otherwise(f"max by (alertname, severity, model_version) ({firing})", "alertname", "none"))],
                [Column("alertname", "alert"), Column("severity", "severity"), Column("model_version", "version")],
                w=8,
                h=5,
                hidden=("Value",),
            ),
            lines(
                "Harm over time",
                "Per version; harmful from 1.",
                [Target(q.with_role(harm), LEGEND)],
                HARM,
                limits=True,
                overrides=ROLES,
            ),
            lines(
                "Predictions that moved",
                "Share of a version's predictions that moved to other bins than in its reference, beyond chance.",
                [Target(q.with_role(moved), LEGEND)],
                SHARE,
                overrides=ROLES,
            ),
            lines(
                "Rows counted",
                "Predictions per second and version that are counted for drift.",
                [Target(q.with_role(rows), LEGEND)],
                Field(fields.PER_SECOND, shade(fields.NEUTRAL), low=0),
                overrides=ROLES,
            ),
        ),
    )


def _columns() -> Row:
    by = "model_version, feature"

    def last(metric: names.Metric, **labels: str) -> Target:
        return Target(f"max by ({by}) ({q.sel(metric, **labels)})")

    beyond, integrity = last(names.DRIFT_BEYOND), Target(f"max by ({by}, kind) ({q.sel(names.DRIFT_INTEGRITY)})")
    asked = (beyond, beyond, last(names.DRIFT_MOVED), last(names.DRIFT_IMPORTANCE), integrity)
    part = Field(RATIO, shade(fields.NEUTRAL), decimals=1)
    looks = (BEYOND, BEYOND, SHARE, part, SHARE)
    titles = ("of threshold", "course", "moved", "importance", "integrity")
    shown = {"of threshold": "color-background", "course": "sparkline"}
    columns = [
        Column("model_version", "version", links=(_report("${__data.fields.model_version}"),)),
        Column("feature", "column"),
    ]
    columns += [
        Column("ABCDE"[place], title, look, shown.get(title, "color-text"))
        for place, (title, look) in enumerate(zip(titles, looks, strict=True))
    ]
    columns.append(Column("kind", "of which"))
    farthest = _of("champion", q.sel(names.DRIFT_BEYOND), "feature")
    broken = _of("champion", q.sel(names.DRIFT_INTEGRITY), "feature, kind")
    return Row(
        "Columns",
        (
            table(
                "Columns by how far they drift",
                "Of threshold: the largest of a column's scores to their calibrated thresholds; from 1 it drifts. Moved: share of rows in other bins, beyond "
                "chance. Importance: how much the model depends on it. Integrity: the largest share of null, unseen, outside or far values. Clocks have no "
                "threshold. A click on a version leads to its report in depth.",
                asked,
                columns,
                h=9,
                sort=("of threshold", True),
            ),
            lines(
                "Scores to thresholds",
                f"Of the champion's columns, the {MOST} farthest; from 1 a column drifts.",
                [Target(f"topk({MOST}, {farthest})", "{{feature}}")],
                BEYOND,
                w=12,
                limits=True,
            ),
            lines(
                "Integrity",
                f"The worst of null, unseen, outside and far values in each of the champion's columns, the {MOST} largest.",
                [Target(f"topk({MOST}, {broken})", "{{feature}}: {{kind}}")],
                SHARE,
                w=12,
            ),
        ),
    )


def _quality() -> Row:

    def spread(role: str) -> Target:
        """Share of its predictions per bin; of a version's own reference, so two versions' bins may differ."""
        counted = _of(role, f"sum by (model, model_version, bin) (increase({q.sel(names.PREDICTION_ROWS)}[$__range]))", "bin")
        return Target(f"{counted} / on () group_left () (sum({counted}) > 0)")

    share = Field(RATIO, shade(fields.CHAMPION), low=0, high=1, decimals=1)
    label = q.latest(q.sel(names.FINDING_LABEL, guard=f"~{JUDGED}"), "model_version, guard, label")
    pass_buckets = f"sum by (le) (rate({names.DRIFT_DURATION.name}_bucket[$__rate_interval]))"
    failed = {"looks failed": names.DRIFT_FAILURES, "rows not counted": names.COUNTING_FAILURES}
    return Row(
        "Predictions and labels",
        (
            table(
                "Predictions: champion beside challenger",
                "Share of each side's predictions per bin, in the time that is looked at. Probabilities have the same bins in all versions; others those of "
                "the version's reference.",
                [spread("champion"), spread("challenger")],
                [
                    Column("bin", "bin"),
                    Column("A", "champion", share, "gauge"),
                    Column("B", "challenger", replace(share, thresholds=shade(fields.CHALLENGER)), "gauge"),
                ],
                w=8,
                h=9,
                sort=("bin", False),
            ),
            table(
                "Guards on predictions and labels",
                "What a rollout's guards said of predictions, of labels that came later, and of disagreement, in the time that is looked at.",
                [Target(q.otherwise(label, "guard", "none is set"))],
                [Column("model_version", "version"), Column("guard", "guard"), Column("label", "said")],
                w=8,
                h=9,
                hidden=("Value",),
            ),
            lines(
                "The watcher",
                "How long one look at all versions takes; looks that failed, and calls whose rows could not be counted.",
                [
                    Target(f"histogram_quantile(0.99, {pass_buckets})", "p99"),
                    *(
                        Target(q.or_zero(f"sum(increase({q.sel(metric)}[$__rate_interval]))"), name)
                        for name, metric in failed.items()
                    ),
                ],
                Field(SECONDS, steps(fields.GOOD, (1, fields.WORSE)), low=0),
                w=8,
                h=9,
                overrides=tuple(fields.colored(name, fields.WORSE, unit=PLAIN) for name in failed),
            ),
        ),
    )


DASHBOARD = Dashboard(
    uid="slipway-drift",
    title="Drift & quality",
    description="One model: whether its data are what it learned from, what moved, whether that does harm, and what is broken.",
    rows=(_now(), _course(), _columns(), _quality()),
    variables=(marks.model(many=False),),
    annotations=marks.marks(many=False),
    since="now-24h",
    boxes=(API,),
)
