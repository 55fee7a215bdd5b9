"""The words of the product as frozen values: model record, split, rollout (spec + requests + status), and what was observed.

A rollout is split by writer: `spec` is written once by the API, `requests` by the API, `status` by the loop alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from judge.evidence import State as JudgeState
from judge.policy import Policy
from judge.samples import Sample
from judge.selfcheck import SelfCheck
from judge.verdict import Verdict


class Invalid(ValueError):
    """A value breaks a rule of the domain. `field` names it, the message tells the fix."""

    def __init__(self, field_name: str, message: str) -> None:
        super().__init__(message)
        self.field = field_name


class Strategy(StrEnum):
    CANARY = "canary"  # steps of weight, judged at each
    BLUE_GREEN = "blue-green"  # switch at once, the old version stays warm


class Phase(StrEnum):
    QUEUED = "queued"  # recorded, nothing done yet
    STARTING = "starting"  # the challenger is being packaged, started and checked against its golden rows
    PROGRESSING = "progressing"  # on a canary step, being judged
    PROMOTING = "promoting"  # all traffic goes to the challenger, then the alias moves
    PROBATION = "probation"  # the challenger is champion, the old champion is still warm
    PROMOTED = "promoted"  # end: it is the champion
    ROLLING_BACK = "rolling_back"  # traffic goes back first, clean-up follows
    ROLLED_BACK = "rolled_back"  # end: it had traffic and was taken off it
    FAILED = "failed"  # end: it never got traffic


TERMINAL = frozenset({Phase.PROMOTED, Phase.ROLLED_BACK, Phase.FAILED})


class HoldReason(StrEnum):
    """Why a rollout does not advance; a set beside the phase."""

    PAUSED = "paused"  # a person asked for it
    INSUFFICIENT = "insufficient"  # the evidence did not suffice until its deadline
    BLIND = "blind"  # the gateway's counts cannot be read
    GUARD_HOLDS = "guard_holds"  # a guard failed of which the policy says that a person shall look
    REPLICAS_DOWN = "replicas_down"  # a side has no ready replica
    GATEWAY_AWAY = "gateway_away"  # no gateway is connected
    GATEWAY_REFUSED = "gateway_refused"  # a gateway refused the configuration
    REGISTRY_AWAY = "registry_away"  # MLflow does not answer
    TRAFFIC_DRIFTS = "traffic_drifts"  # the traffic is not what the challenger was trained on
    ALIAS_MOVED = "alias_moved"  # somebody moved the champion alias by hand


@dataclass(frozen=True, slots=True)
class Hold:
    reason: HoldReason
    since: datetime  # first time in a row, kept while the hold lasts
    detail: str


@dataclass(frozen=True, slots=True)
class Split:
    """Weights per version in percent, summing to 100; versions ascending, each once. Zero weights are left out."""

    weights: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        versions = [version for version, _ in self.weights]
        if versions != sorted(set(versions)) or any(version < 1 for version in versions):
            raise Invalid("weights", f"versions must be positive and appear once: {self.weights}")
        if any(not 0 < weight <= 100 for _, weight in self.weights) or sum(weight for _, weight in self.weights) != 100:
            raise Invalid("weights", f"weights must be positive and sum to 100: {self.weights}")

    @classmethod
    def of(cls, weights: Mapping[int, int]) -> Split:
        return cls(tuple(sorted((version, weight) for version, weight in weights.items() if weight != 0)))

    def weight_pct(self, version: int) -> int:
        return dict(self.weights).get(version, 0)


@dataclass(frozen=True, slots=True)
class Step:
    """A weight for the challenger, and what must be known before the next: so many challenger requests at this step
    without a `fail`, and at least so many seconds. The way to 100 also needs the verdict `pass`."""

    weight_pct: int
    requests: int = 100
    min_s: float = 0.0


DEFAULT_STEPS = tuple(Step(weight) for weight in (1, 5, 20, 50, 100))


def check_steps(steps: tuple[Step, ...]) -> None:
    """Weights rise strictly and end at 100. Raises Invalid naming the field."""
    weights = [step.weight_pct for step in steps]
    if not weights or len(weights) > 50:
        raise Invalid("steps", "give between 1 and 50 steps, for example 1, 5, 20, 50, 100")
    if weights != sorted(set(weights)) or weights[0] < 1 or weights[-1] != 100:
        raise Invalid("steps", f"weights must rise from at least 1 to exactly 100, not {weights}")
    if any(not 0 <= step.requests <= 10_000_000 or not 0 <= step.min_s <= 30 * 86400 for step in steps):
        raise Invalid("steps", "requests must be 0 to 10 million and min_s 0 to 30 days")


@dataclass(frozen=True, slots=True)
class Ramp:
    """A canary without fixed steps: the share follows the evidence (see `schedule`).

    bad_requests: the budget, bad answers that a regression may cost within reaction_s, the time from a reading to the challenger being off
    the traffic. hold_pct: the largest share before the promotion. bake_s: time at that share, at least: what a slow schedule really buys is
    time for failures that come late.
    """

    bad_requests: float = 20.0
    hold_pct: int = 50
    bake_s: float = 60.0
    reaction_s: float = 4.0

    def __post_init__(self) -> None:
        if not 0.1 <= self.bad_requests <= 1e6:
            raise Invalid("auto", "bad_requests must be 0.1 to 1000000")
        if not 1 <= self.hold_pct <= 99:
            raise Invalid("auto", "hold_pct must be 1 to 99")
        if not 0 <= self.bake_s <= 30 * 86400:
            raise Invalid("auto", "bake_s must be 0 to 30 days")
        if not 0.1 <= self.reaction_s <= 3600:
            raise Invalid("auto", "reaction_s must be 0.1 to 3600")


@dataclass(frozen=True, slots=True)
class Spec:
    """What was asked for; never changed. `champion` is the version that served when the rollout was made (None: first ship)."""

    model: str
    version: int
    champion: int | None
    strategy: Strategy = Strategy.CANARY
    steps: tuple[Step, ...] = DEFAULT_STEPS  # without meaning where there is a ramp
    policy: Policy = field(default_factory=Policy)
    replicas: int = 1
    start_deadline_s: float = 180.0
    probation_s: float = 600.0
    auto: Ramp | None = None
    actor: str = "anonymous"
    note: str = ""
    retry_of: str | None = None
    undo_of: str | None = None

    def __post_init__(self) -> None:
        check_steps(self.steps)
        if self.version == self.champion:
            raise Invalid("version", f"version {self.version} of {self.model} is the champion already")
        if not 1 <= self.replicas <= 64:
            raise Invalid("replicas", "replicas must be 1 to 64")
        if not 1 <= self.start_deadline_s <= 86400:
            raise Invalid("start_deadline_s", "start_deadline_s must be 1 to 86400")
        if not 0 <= self.probation_s <= 30 * 86400:
            raise Invalid("probation_s", "probation_s must be 0 to 30 days")


@dataclass(frozen=True, slots=True)
class Intent:
    """Somebody asked for something: who, when, why."""

    actor: str
    at: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Requests:
    """What people asked of a running rollout. `pause` is taken back by resume; the others are never taken back."""

    pause: Intent | None = None
    promote: Intent | None = None
    abort: Intent | None = None
    undo: Intent | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """Where the rollout is. Written by the loop alone."""

    phase: Phase
    phase_since: datetime
    step: int = 0  # from 0; of a ramp: how often the share has risen
    weight_pct: int = 0  # of a ramp: the challenger's share
    step_since: datetime | None = None  # when the step's split was first seen acknowledged
    step_base: int = 0  # challenger requests judged before this step began
    holds: tuple[Hold, ...] = ()
    selfcheck: SelfCheck | None = None  # of the champion, before there was a challenger
    judge: JudgeState | None = None
    verdict: Verdict | None = None
    had_traffic: bool = False  # the challenger was ever given a weight
    alias_moved: bool = False  # the champion alias was (perhaps) moved to the challenger
    decided_at: datetime | None = None  # when it was decided to promote or to roll back
    ended_at: datetime | None = None
    reason: str = ""  # why it was decided so, one sentence
    message: str = ""  # what the last pass did, one sentence


@dataclass(frozen=True, slots=True)
class Rollout:
    id: str
    created_at: datetime
    spec: Spec
    requests: Requests
    status: Status
    revision: int = 0

    def __post_init__(self) -> None:
        if self.created_at.tzinfo is None or self.status.phase_since.tzinfo is None:
            raise ValueError("times carry a zone")

    @property
    def open(self) -> bool:
        return self.status.phase not in TERMINAL


@dataclass(frozen=True, slots=True)
class Reading:
    """What the judge was given in one pass of a rollout, stored with what it made of it, so that it can be asked again.

    samples: cumulative counts, those that changed since the reading before; the first holds all.
    """

    at: datetime
    phase: Phase
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class RegistryNote:
    """Something the registry should be told when it listens: an alias, or tags on a version. Not waited for."""

    version: int | None
    alias: str | None = None
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What slipway serves of one model: the desired split with its epoch, and the champion behind it.

    epoch: counts the changes of the split; the gateway tags each request with the epoch it arrived under.
    previous: the champion before this one. outbox: what the registry has not been told yet, oldest first.
    """

    model: str
    champion: int | None = None
    previous: int | None = None
    replicas: int = 1
    split: Split | None = None
    epoch: int = 0
    outbox: tuple[RegistryNote, ...] = ()
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Routing:
    """All that a gateway must know of one model. Every version in `endpoints` has a pinned route and a warm cluster."""

    model: str
    split: Split
    epoch: int
    endpoints: tuple[tuple[int, tuple[str, ...]], ...]  # version -> "host:port" of each ready replica, ascending

    def __post_init__(self) -> None:
        known = dict(self.endpoints)
        missing = [version for version, _ in self.split.weights if version not in known]
        if missing:
            raise Invalid("split", f"{self.model}: versions {missing} have a weight but no endpoints entry")


class DeploymentState(StrEnum):
    PREPARING = "preparing"  # the bento is being built
    STARTING = "starting"  # replicas are coming up or being checked against golden rows
    READY = "ready"  # every wanted replica answers
    DEGRADED = "degraded"  # some wanted replica is down and being restarted
    STOPPING = "stopping"  # draining
    FAILED = "failed"  # will not work, see reason


@dataclass(frozen=True, slots=True)
class Deployment:
    """The replicas of one version as the runtime sees them. `endpoints` holds the addresses that may take traffic now."""

    model: str
    version: int
    state: DeploymentState
    wanted: int
    endpoints: tuple[str, ...] = ()
    reason: str = ""


class Ack(StrEnum):
    """Does every connected gateway run what was published last?"""

    YES = "yes"
    NOT_YET = "not_yet"
    REFUSED = "refused"  # a gateway answered NACK; the last good configuration stays
    AWAY = "away"  # no gateway is connected


@dataclass(frozen=True, slots=True)
class GatewayNode:
    """One connected gateway process. `detail` holds Envoy's own words when it refused."""

    id: str
    ack: Ack
    detail: str = ""


@dataclass(frozen=True, slots=True)
class GatewayState:
    """Acknowledgement of one model's routing. `acked` is the routing that every connected gateway confirmed last."""

    ack: Ack
    nodes: tuple[GatewayNode, ...]
    published: Routing | None
    acked: Routing | None


@dataclass(frozen=True, slots=True)
class Unknown:
    """It was asked and could not be known; never guessed."""

    reason: str


@dataclass(frozen=True, slots=True)
class Observed:
    """One look at the world, each part bounded in time; what failed is Unknown, what was not asked is Unknown too."""

    now: datetime
    deployments: tuple[Deployment, ...] | Unknown = Unknown("not asked")
    gateway: GatewayState | Unknown = Unknown("not asked")
    samples: tuple[Sample, ...] | Unknown = Unknown("not asked")
    answers: tuple[Sample, ...] | Unknown = Unknown("not asked")  # what the versions answered, in samples of their own
    alias: int | Unknown | None = Unknown("not asked")
    drift: str = ""  # why the challenger's data raise an alarm now; empty: they do not, or nobody knows
    selfcheck: SelfCheck | None = None  # made in this pass
    requests_per_s: float | None = None  # all traffic of the model in the last seconds; None: not known
