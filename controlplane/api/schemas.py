"""The JSON of the API, field by field: what every route shares, and what goes out of a rollout. What comes in of one is in `bodies`; other
routes have theirs beside them. Published as OpenAPI at /api/v1/openapi.json.

Domain values that are already plain (policy, steps, findings) are used as they are, so that no field has to be written twice. Must never
read a store or decide anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from judge import policy as policies
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
