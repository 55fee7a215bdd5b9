"""PURE. The dashboard *Rollouts*: where a rollout is, what the judge thinks and why, how fast bad versions were found and taken back."""

from __future__ import annotations

from monitoring import names

from . import fields, marks, outcomes, words
from . import queries as q
from .dashboard import Dashboard, Row
from .fields import PLAIN, RATIO, Field, Override, colored, dashed, shade, steps
from .panels import Column, Panel, Target, lines, stat, table, timeline

EVIDENCE = Field(RATIO, steps(fields.QUIET, (1, fields.WORSE)), low=-1, decimals=0)
PROOF = Field(RATIO, steps(fields.QUIET, (1, fields.GOOD)), low=-1, decimals=0)
BY_GUARD = "model_version, guard"
ANY = Field(PLAIN, shade(fields.NEUTRAL))
NUMBER = Field(PLAIN, shade(fields.NEUTRAL), decimals=2)
COUNT = Field(PLAIN, shade(fields.NEUTRAL), decimals=0)


def _now() -> Row:
    phase = f"max by (phase) ({q.sel(names.PHASE)})"
    label = f"max by (label) ({q.sel(names.VERDICT_LABEL)})"
    holds = f"max by (reason) ({q.sel(names.HOLD)})"
    step = [
        Target(q.or_zero(f"max by (model) ({q.sel(metric)})"), name, now=True)
        for metric, name in ((names.STEP, "step"), (names.STEPS, "of"))
    ]
    ended = f"topk(1, max by (outcome) (last_over_time({q.sel(names.ENDED)}[$__range])))"
    against = f"max(({q.sel(names.VERDICT_EVIDENCE)}) / ({q.sel(names.VERDICT_THRESHOLD)}))"
    missing = f"max({q.sel(names.FINDING_MORE)})"
    ack = f"max by (state) ({q.sel(names.GATEWAY_ACK)})"
    return Row(
        "Now",
        (
            stat(
                "Phase",
                "Of the open rollout.",
                [Target(q.otherwise(phase, "phase", "none open"), "{{phase}}", now=True)],
                ANY,
                w=4,
                text="name",
            ),
            stat("Step", "Of the open canary, and how many it has.", step, COUNT, w=3),
            stat(
                "Verdict",
                "All guards together.",
                [Target(q.otherwise(label, "label", "nothing"), "{{label}}", now=True)],
                ANY,
                w=3,
                text="name",
            ),
            stat(
                "Evidence to roll back",
                "All guards together, as a share of the limit (both as log10): at 100 % the version is taken back.",
                [Target(q.or_zero(f"clamp_min({against}, 0)"), now=True)],
                Field(RATIO, steps(fields.GOOD, (0.5, fields.CAUTION), (1, fields.WORSE)), low=0, high=1, decimals=0),
                w=3,
            ),
            stat(
                "Requests still missing",
                "Forecast for a pass; the guard that needs the most.",
                [Target(q.or_zero(missing), now=True)],
                COUNT,
                w=3,
            ),
            stat(
                "Held by",
                "Why the rollout does not advance.",
                [Target(q.otherwise(holds, "reason", "nothing"), "{{reason}}", now=True)],
                Field(PLAIN, steps(fields.GOOD, (1, fields.BAD))),
                w=3,
                text="name",
            ),
            stat(
                "Gateways obey",
                "What they say of the newest routing.",
                [Target(q.otherwise(ack, "state", "not asked"), "{{state}}", now=True)],
                ANY,
                w=2,
                text="name",
            ),
            stat(
                "Last rollout",
                "How it ended.",
                [Target(q.otherwise(ended, "outcome", "none yet"), "{{outcome}}", now=True)],
                ANY,
                w=3,
                text="name",
            ),
        ),
    )


def _course() -> Row:
    phase = q.coded(names.PHASE.name, "phase", words.OPEN, "model")
    asked = [
        Target(f"{phase} or 0 * max by (model) ({q.sel(names.PASS_AGE)})", "phase"),
        Target(q.coded(names.VERDICT_LABEL.name, "label", words.SAID, "model"), "judge"),
        Target(q.coded(names.FINDING_LABEL.name, "label", words.SAID, "guard"), "{{guard}}"),
        Target(f"{words.HOLDING} * max by (reason) ({q.sel(names.HOLD)})", "hold: {{reason}}"),
    ]
    versions = q.with_role(f"max by ({q.BY_VERSION}) ({q.sel(names.WEIGHT, source='desired')})")
    share = [
        Target(q.of_role(f"max by ({q.BY_VERSION}) ({q.sel(names.WEIGHT, source=source)})", "challenger"), source)
        for source in ("desired", "acked", "observed")
    ]
    step = [
        Target(f"max by (model) ({q.sel(metric)})", name) for metric, name in ((names.STEP, "step"), (names.STEPS, "steps"))
    ]
    return Row(
        "Course",
        (
            timeline(
                "State",
                "Phase of the open rollout, what the judge said, guard by guard, and what held it.",
                asked,
                Field(PLAIN, shade(fields.QUIET), words=(*words.PHASES, *words.LABELS, words.HELD)),
                h=9,
            ),
            lines(
                "Split",
                "Share of the traffic per version, as it should be.",
                [Target(versions, "{{role}} v{{model_version}}")],
                Field(RATIO, shade(fields.NEUTRAL), low=0, high=1),
                w=10,
                stacked=True,
                stepped=True,
                overrides=fields.ROLES,
            ),
            lines(
                "Challenger's share",
                "As it should be, as the gateways acknowledged it, and as it was counted.",
                share,
                Field(RATIO, shade(fields.NEUTRAL), low=0, high=1),
                w=9,
                stepped=True,
                overrides=(
                    colored("desired", fields.QUIET),
                    dashed("acked", fields.NEUTRAL),
                    colored("observed", fields.CHALLENGER),
                ),
            ),
            lines(
                "Step",
                "Of the open canary, and how many it has.",
                step,
                COUNT,
                w=5,
                stepped=True,
                overrides=(dashed("steps", fields.QUIET),),
            ),
        ),
    )


def _share_of_limit(side: str, by: str) -> str:
    """Of evidence; both are logarithms. What is far off is drawn at the edge, or one could not see what is near."""
    evidence, limit = (q.sel(metric, side=side) for metric in (names.FINDING_EVIDENCE, names.FINDING_THRESHOLD))
    return f"clamp(max by ({by}) (({evidence}) / ({limit})), -1, 2)"


def _findings() -> Panel:
    def last(metric: names.Metric, **labels: str) -> Target:
        return Target(q.latest(q.sel(metric, **labels), BY_GUARD))

    label = q.sel(names.FINDING_LABEL)
    asked = (
        last(names.FINDING_EFFECT, bound="estimate"),
        last(names.FINDING_EFFECT, bound="low"),
        last(names.FINDING_EFFECT, bound="high"),
        last(names.FINDING_EVIDENCE, side="rollback"),
        last(names.FINDING_THRESHOLD, side="rollback"),
        last(names.FINDING_EVIDENCE, side="promotion"),
        last(names.FINDING_THRESHOLD, side="promotion"),
        # The label that was seen last.
        Target(
            f"topk by ({BY_GUARD}) (1, max by ({BY_GUARD}, label) (max_over_time(timestamp({label})[$__range:$__interval])))"
        ),
    )
    titles = ("effect", "low", "high", "against it", "rolls back at", "for it", "passes at")
    columns = [Column("model_version", "version"), Column("guard", "guard"), Column("label", "says")]
    columns += [Column("ABCDEFG"[place], title, NUMBER) for place, title in enumerate(titles)]
    about = (
        "The last finding of each guard on each version within the time that is looked at. Effect: challenger to champion, with its interval. "
        "Evidence and limits are log10; at its limit a guard rolls back, or lets pass."
    )
    return table("Findings", about, asked, columns, w=24, h=7, sort=("version", True), hidden=("Value #H",))


def _evidence() -> Row:
    together = f"clamp(max by (model) (({q.sel(names.VERDICT_EVIDENCE)}) / ({q.sel(names.VERDICT_THRESHOLD)})), -1, 2)"
    effect = [
        Target(f"max by (guard) ({q.sel(names.FINDING_EFFECT, bound=bound)})", f"{{{{guard}}}} {bound}")
        for bound in ("estimate", "low", "high")
    ]
    thin = {"custom.lineStyle": {"dash": [2, 4], "fill": "dot"}, "custom.lineWidth": 1}
    more = [Target(f"max by (guard) ({q.sel(names.FINDING_MORE)})", "{{guard}}")]
    return Row(
        "What the judge thinks, and why",
        (
            _findings(),
            lines(
                "Evidence to roll back",
                "As a share of the limit: at 100 % all guards together take the version back. What is beyond -100 % or 200 % is drawn there.",
                [Target(_share_of_limit("rollback", "guard"), "{{guard}}"), Target(together, "together")],
                EVIDENCE,
                w=6,
                limits=True,
                overrides=(colored("together", fields.WORSE, **{"custom.lineWidth": 3}),),
            ),
            lines(
                "Evidence to pass",
                "As a share of the limit: at 100 % the guard is content. All of them must be. Beyond 200 % is drawn there.",
                [Target(_share_of_limit("promotion", "guard"), "{{guard}}")],
                PROOF,
                w=6,
                limits=True,
            ),
            lines(
                "Effect",
                "Challenger to champion, with the interval that holds at any time (dotted). 1 is no difference.",
                effect,
                Field(PLAIN, steps(fields.QUIET, (1, fields.CAUTION)), low=0.1, high=10, decimals=2),
                w=6,
                limits=True,
                scale="log",
                overrides=(Override("/(low|high)$/", thin),),
            ),
            lines(
                "Requests still missing",
                "Forecast of the challenger's requests until a guard passes.",
                more,
                Field(PLAIN, shade(fields.NEUTRAL), low=0, decimals=0),
                w=6,
            ),
        ),
    )


DASHBOARD = Dashboard(
    uid="slipway-rollouts",
    title="Rollouts",
    description="One model's rollouts: state, split, evidence against limit, detection and rollback times, outcomes by reason.",
    rows=(_now(), _course(), _evidence(), outcomes.row()),
    variables=(marks.model(many=False),),
    annotations=marks.marks(many=False),
)
