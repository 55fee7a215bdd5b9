"""The JSON of the API: what comes in and what goes out, field by field. Published as OpenAPI at /api/v1/openapi.json.

Used by the routes (in) and by `views` (out). Domain values that are already plain (policy, steps, findings) are used as
they are, so that no field has to be written twice. Must never read a store or decide anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from judge import policy as policies
from judge import presets
from judge import verdict as verdicts
from rollout import events, preview
from rollout import model as domain

from .services import ObservedSplit

MAX_VERSION = 2**31 - 1  # MLflow numbers versions with 32 bits


class Body(BaseModel):
    """What comes in: unknown keys are typos, and infinity is no number to decide with."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class View(BaseModel):
    """What goes out."""

    model_config = ConfigDict(frozen=True)


def _step(value: object) -> object:
    """A bare number is a step of that weight."""
    return {"weight_pct": value} if isinstance(value, int) and not isinstance(value, bool) else value


def _policy(value: object) -> object:
    """A preset by name, or with changes: `fast`, `{"preset": "fast", "alpha": 0.02}`."""
    name = value if isinstance(value, str) else value.get("preset") if isinstance(value, dict) else None
    if name is None:
        return value
    if name not in presets.PRESETS:
        raise ValueError(f"there is no preset {name!r}; there are {', '.join(presets.PRESETS)}")
    return _changed(asdict(presets.PRESETS[name]), value if isinstance(value, dict) else {})


def _changed(known: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The preset's values with these in place of theirs, guard by guard."""
    changed = dict(known)
    for key, value in changes.items():
        if key != "preset":
            both = isinstance(value, dict) and isinstance(known.get(key), dict)
            changed[key] = _changed(known[key], value) if both else value
    return changed


Policy = Annotated[
    policies.Policy, pydantic.BeforeValidator(_policy, json_schema_input_type=str | policies.Policy | dict[str, Any])
]
Step = Annotated[domain.Step, pydantic.BeforeValidator(_step, json_schema_input_type=int | domain.Step)]
Text = Annotated[str, Field(max_length=2000)]


class RolloutBody(Body):
    """A rollout to start (or, with /plan, only to look at)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "flight-delay", "version": 4},
                {
                    "model": "flight-delay",
                    "version": 4,
                    "strategy": "canary",
                    "steps": [1, {"weight_pct": 10, "requests": 500, "min_s": 60}, 50, 100],
                    "policy": {"alpha": 0.01, "on_blind": "roll_back", "error_rate": {"margin_ratio": 1.5}},
                    "note": "trained on spring data",
                },
            ]
        }
    )

    model: Annotated[str, Field(max_length=250, description="A registered model in MLflow.")]
    version: Annotated[int, Field(ge=1, le=MAX_VERSION, description="The version that is to become the champion.")]
    strategy: Annotated[domain.Strategy, Field(description="`canary` (in steps) or `blue-green` (at once).")] = (
        domain.Strategy.CANARY
    )
    steps: Annotated[
        tuple[Step, ...] | None,
        Field(
            max_length=50,
            description="Of a canary: weights in percent, or objects `{weight_pct, requests, min_s}`; they rise and end at 100. "
            "Left out: 1, 5, 20, 50, 100 with 100 requests each.",
        ),
    ] = None
    auto: Annotated[
        domain.Ramp | None,
        Field(
            description="Of a canary instead of steps: the share follows the evidence, within a budget of bad answers. `{}` takes all "
            "defaults: 20 bad answers at most within 4 s, hold at 50 %, bake there for 60 s."
        ),
    ] = None
    policy: Annotated[
        Policy,
        Field(
            description="What is guarded and how strictly; what is left out keeps its default. Or a preset by name (`cautious`, "
            "`standard`, `fast`), also with changes: `{preset: fast, alpha: 0.02}`."
        ),
    ] = policies.Policy()
    replicas: Annotated[int, Field(description="How many servers of the version to run, 1 to 64.")] = 1
    start_deadline_s: Annotated[float, Field(description="Seconds to be ready for traffic, or the rollout fails.")] = 180.0
    probation_s: Annotated[
        float, Field(description="Seconds after the promotion in which the old champion stays warm for an undo.")
    ] = 600.0
    note: Annotated[Text, Field(description="Why, for the history.")] = ""


class ReplayBody(Body):
    """By which rules to judge again. The whole body may be left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"policy": {"alpha": 0.05}}]})

    policy: Annotated[Policy | None, Field(description="Left out: the rollout's own, to see that it reproduces.")] = None


class ReasonBody(Body):
    """Why something is asked for. The whole body may be left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "errors on the dashboard"}]})

    reason: Annotated[Text, Field(description="Kept in the history.")] = ""


class Weight(View):
    version: int
    weight_pct: int


class Intent(View):
    """Somebody asked for this."""

    actor: str
    at: datetime
    reason: str


class Requests(View):
    """What people asked of the rollout; null: not asked."""

    pause: Intent | None
    promote: Intent | None
    abort: Intent | None
    undo: Intent | None


class Hold(View):
    """Why the rollout does not advance."""

    reason: domain.HoldReason
    since: datetime
    detail: str


class StepView(View):
    """Where a canary stands. Null for blue-green, which has no steps."""

    index: Annotated[int, Field(description="Counted from 1.")]
    count: Annotated[int | None, Field(description="How many there are. Null: the share follows the evidence.")]
    weight_pct: int
    requests_needed: Annotated[int, Field(description="Challenger requests to be judged at this step at least.")]
    requests_seen: Annotated[int, Field(description="Challenger requests judged at this step so far.")]
    min_s: float
    since: Annotated[datetime | None, Field(description="When every gateway had confirmed the step's split.")]


class Verdict(View):
    """What the judge says now. `findings` holds one entry per guard; `evidence` and `threshold` are log10 of e-values."""

    judge: str
    label: verdicts.Label
    reason: str
    findings: tuple[verdicts.Finding, ...]
    evidence: float
    threshold: float


class Rollout(View):
    """One attempt to make a version the champion."""

    id: str
    model: str
    version: Annotated[int, Field(description="The challenger.")]
    champion: Annotated[int | None, Field(description="What served when the rollout was made; null on a first ship.")]
    strategy: domain.Strategy
    phase: domain.Phase
    open: Annotated[bool, Field(description="Still going on.")]
    outcome: Annotated[domain.Phase | None, Field(description="promoted, rolled_back or failed; null while open.")]
    step: StepView | None
    steps: tuple[domain.Step, ...]
    auto: Annotated[domain.Ramp | None, Field(description="The ramp of a canary without fixed steps.")]
    split: Annotated[tuple[Weight, ...] | None, Field(description="Desired split of the model now; null once ended.")]
    holds: tuple[Hold, ...]
    verdict: Verdict | None
    reason: Annotated[str, Field(description="Why it was decided so, one sentence.")]
    message: Annotated[str, Field(description="What was done last, one sentence.")]
    requests: Requests
    created_at: datetime
    phase_since: datetime
    decided_at: datetime | None
    ended_at: datetime | None
    actor: str
    note: str
    replicas: int
    retry_of: str | None
    undo_of: str | None
    revision: int
    links: Mapping[str, str]


class Rollouts(View):
    """Newest first. `next` is the address of the following page."""

    rollouts: tuple[Rollout, ...]
    next: str | None


class Event(View):
    """One fact of the append-only history."""

    seq: Annotated[int, Field(description="Place in the history of everything; give it as `after` to read on.")]
    rollout_id: str
    model: str
    at: datetime
    kind: events.Kind
    actor: str
    sentence: str
    data: Mapping[str, object]


class History(View):
    """Oldest first. `next` is the address of the following page."""

    events: tuple[Event, ...]
    next: str | None


class Explanation(View):
    """Why the rollout is where it is: the rules it is judged by, the evidence, and what it waits for."""

    rollout: str
    model: str
    phase: domain.Phase
    outcome: domain.Phase | None
    sentences: Annotated[tuple[str, ...], Field(description="The explanation for people, in order.")]
    verdict: Verdict | None
    policy: policies.Policy
    step: StepView | None
    holds: tuple[Hold, ...]
    requests: Requests
    links: Mapping[str, str]


class Plan(View):
    """What a rollout would need. Nothing was recorded and nothing will happen."""

    model: str
    version: int
    champion: int | None
    strategy: domain.Strategy
    steps: tuple[preview.PreviewStep, ...]
    total_requests: int
    total_minutes: Annotated[float | None, Field(description="At today's traffic; null: there is none to count with.")]
    refusal: Annotated[str | None, Field(description="Why it could not finish, and what to change; null: it can.")]
    sentences: Annotated[tuple[str, ...], Field(description="The plan for people.")]
    traffic: ObservedSplit
    open_rollout: Annotated[str | None, Field(description="The rollout that has to end first; null: none.")]


class FieldError(View):
    field: Annotated[str, Field(description="Where, as a dotted path: `policy.alpha`, `steps.2`, `header.Idempotency-Key`.")]
    message: str


class Problem(View):
    """RFC 9457 problem details; media type application/problem+json."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:slipway:problem:invalid",
                    "title": "The request is not valid",
                    "status": 422,
                    "detail": "steps: weights must rise from at least 1 to exactly 100, not [5, 1]",
                    "instance": "/api/v1/rollouts",
                    "errors": [{"field": "steps", "message": "weights must rise from at least 1 to exactly 100, not [5, 1]"}],
                    "links": {},
                }
            ]
        }
    )

    type: Annotated[str, Field(description="Stable name of the kind of problem.")]
    title: str
    status: int
    detail: Annotated[str, Field(description="What is wrong here and what to do, one or two sentences.")]
    instance: str
    errors: tuple[FieldError, ...] = ()
    links: Annotated[Mapping[str, str], Field(description="What to look at next, e.g. the rollout that is open.")] = {}


class OpenRollout(View):
    id: str
    version: int
    phase: domain.Phase
    link: str


class Model(View):
    """A model that is registered or served."""

    model: str
    champion: Annotated[int | None, Field(description="The version that slipway serves by default; null: none yet.")]
    previous: Annotated[int | None, Field(description="The champion before this one.")]
    replicas: int
    split: Annotated[tuple[Weight, ...] | None, Field(description="Desired split.")]
    registered: Annotated[bool | None, Field(description="Known to the registry; null: the registry does not answer.")]
    open_rollout: OpenRollout | None
    links: Mapping[str, str]


class Models(View):
    models: tuple[Model, ...]
    registry: Annotated[str | None, Field(description="Why the registry's models are missing; null: they are here.")]


class ModelDetail(Model):
    """One model with its running versions."""

    deployments: Annotated[tuple[domain.Deployment, ...] | None, Field(description="Null: the runtime does not answer.")]
    runtime: Annotated[str | None, Field(description="Why the deployments are unknown; null: they are known.")]


class Version(View):
    """One registered version, as MLflow knows it."""

    version: int
    created_at: datetime
    run_id: str
    has_signature: Annotated[bool, Field(description="Without one it cannot be rolled out.")]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    aliases: tuple[str, ...]
    description: str


class Versions(View):
    """Newest first."""

    model: str
    versions: tuple[Version, ...]


class AckedSplit(View):
    """What the gateways have confirmed: `yes`, `not_yet`, `refused` or `away`, with the last split that all confirmed."""

    state: domain.Ack
    weights: tuple[Weight, ...] | None
    epoch: int | None
    nodes: tuple[domain.GatewayNode, ...]


class LiveSplit(View):
    """The same split three times: as wanted, as confirmed by every gateway, as counted."""

    model: str
    desired: tuple[Weight, ...] | None
    epoch: Annotated[int, Field(description="Counts the changes of the desired split.")]
    acked: AckedSplit
    observed: ObservedSplit


class Part(View):
    state: Annotated[str, Field(description="ok, away, or (of the loop) failing")]
    reason: str | None


class Health(View):
    status: str
    version: str


class Readiness(View):
    """Ready as long as the store answers; the other parts only degrade what is possible."""

    ready: bool
    store: Part
    registry: Part
    gateway: Part
    loop: Part


class ReplayedGuard(View):
    """One guard after one reading; numbers as in a finding."""

    guard: str
    label: verdicts.Label
    evidence: float
    threshold: float
    promotion_evidence: float
    promotion_threshold: float
    effect: verdicts.Effect


class ReplayedLook(View):
    at: datetime
    phase: domain.Phase
    share_pct: Annotated[float | None, Field(description="The challenger's part of the requests that came with this reading.")]
    label: verdicts.Label
    evidence: float
    threshold: float
    guards: tuple[ReplayedGuard, ...]


class Replay(View):
    """The rollout judged again from what its judge was given."""

    rollout: str
    readings: int
    reproduced: Annotated[
        bool | None,
        Field(description="The evidence is bit for bit what is stored. Null: another policy was asked, or nothing was judged."),
    ]
    sentence: str
    failed_at: datetime | None
    passed_at: datetime | None
    verdict: Verdict | None
    looks: Annotated[tuple[ReplayedLook, ...], Field(description="Oldest first; of a long rollout every n-th.")]
