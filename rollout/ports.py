"""What the control plane needs of the outside, in domain words. Each adapter and its in-memory twin pass one contract suite.

Two families of errors cross a port: `Unavailable` (try again) and `Refused` (will not work until something changes).
Every call is idempotent and bounded in time by its adapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from judge.samples import Sample

from . import events, model


class PortError(Exception):
    """Base of what a port may raise. `system` names the outside system for people."""

    def __init__(self, system: str, message: str) -> None:
        super().__init__(message)
        self.system = system


class Unavailable(PortError):
    """The outside system did not answer, or not in time: try again."""


class Refused(PortError):
    """The outside system answered that it will not work."""


class NotFound(Refused):
    """There is no such model, version or rollout."""


class Stale(Exception):
    """Somebody else saved first: drop the pass, look again."""


class AlreadyOpen(Exception):
    """The model has an open rollout."""

    def __init__(self, rollout_id: str) -> None:
        super().__init__(f"rollout {rollout_id} is still open")
        self.rollout_id = rollout_id


class Gateway(Protocol):
    """Splits the traffic."""

    async def publish(self, routing: model.Routing) -> None:
        """Make this the desired routing of its model. Returns once it is on its way, not once it is acknowledged.
        Publishing what is published already does nothing."""
        ...

    async def withdraw(self, model_name: str) -> None:
        """Take all routes of the model away. Unknown models are no error."""
        ...

    async def state(self, model_name: str) -> model.GatewayState:
        """What the connected gateways have acknowledged; never raises."""
        ...

    async def samples(self, model_name: str) -> tuple[Sample, ...]:
        """Cumulative counts of the split route per gateway, replica ("" if none was found), epoch and version. `latency`: what a replica
        answered without failing, and how long those who hung up waited; it may lag behind the counters for a moment, so in one reading it
        need not add up to requests - errors. Raises Unavailable if any connected gateway cannot be read, or none is connected."""
        ...


class Answers(Protocol):
    """Tells what versions answered, as their replicas counted it."""

    async def samples(self, replicas: Mapping[int, Sequence[str]]) -> tuple[Sample, ...]:
        """Cumulative counts of the answers to requests that came along the split, by the addresses of each version's replicas: per process of
        a replica, epoch and version, of the epochs under which all of these versions answered. One answer per request. They hold `answers` alone;
        `gateway` names no gateway, and `replica` is another one after every start. Raises Unavailable if any of them cannot be read,
        or answers nothing that can be counted."""
        ...


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One registered version as MLflow knows it."""

    model: str
    version: int
    created_at: datetime
    run_id: str
    has_signature: bool
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    description: str = ""


class Registry(Protocol):
    """Knows the versions. Raises NotFound for what does not exist, Unavailable when it does not answer."""

    async def models(self) -> Sequence[str]: ...

    async def versions(self, model_name: str) -> Sequence[ModelVersion]:
        """Newest first."""
        ...

    async def version(self, model_name: str, version: int) -> ModelVersion: ...

    async def alias(self, model_name: str, alias: str) -> int | None: ...

    async def set_alias(self, model_name: str, alias: str, version: int | None) -> None:
        """Point the alias at the version; None removes it. Calls for one model take effect in the order they were made,
        even when the caller gave up waiting."""
        ...

    async def tag(self, model_name: str, version: int, tags: Mapping[str, str]) -> None: ...


class Runtime(Protocol):
    """Runs replicas of versions. Calls only record the wish and return; `deployments` tells how far it is."""

    async def ensure(self, model_name: str, version: int, replicas: int) -> None:
        """Want so many replicas: build the bento if needed, start them, check golden rows, restart the crashed."""
        ...

    async def stop(self, model_name: str, version: int, drain_s: float) -> None:
        """Want none: let running requests finish for at most drain_s, then stop and forget. Unknown is no error."""
        ...

    async def deployments(self, model_name: str) -> tuple[model.Deployment, ...]:
        """Every version that is wanted, failed or still stopping."""
        ...


class Store(Protocol):
    """Keeps what must survive. Every write is one transaction."""

    async def records(self) -> Sequence[model.ModelRecord]: ...

    async def record(self, model_name: str) -> model.ModelRecord | None: ...

    async def rollout(self, rollout_id: str) -> model.Rollout:
        """Raises NotFound."""
        ...

    async def open_rollout(self, model_name: str) -> model.Rollout | None: ...

    async def current(self, model_name: str) -> tuple[model.ModelRecord | None, model.Rollout | None]:
        """The record and the open rollout as they were at one moment: what a pass begins with."""
        ...

    async def rollouts(
        self, model_name: str | None = None, *, open_only: bool = False, limit: int = 100, before: str | None = None
    ) -> Sequence[model.Rollout]:
        """Newest first; `before` is a rollout id to page on."""
        ...

    async def create(
        self, rollout: model.Rollout, facts: Sequence[events.Event], *, idempotency: Idempotency | None = None
    ) -> None:
        """Store a new rollout (revision 1) and its model's record if there is none. Raises AlreadyOpen. With `idempotency`
        the key is stored in the same transaction."""
        ...

    async def save(
        self,
        rollout: model.Rollout | None,
        record: model.ModelRecord | None,
        facts: Sequence[events.Event],
        *,
        idempotency: Idempotency | None = None,
        reading: model.Reading | None = None,
    ) -> None:
        """Compare-and-swap on the revisions given (what is stored must have exactly these), both raised by one, with the
        events and what the judge of the rollout was given, in one transaction. Raises Stale and writes nothing if either revision is not the stored one. A record
        with revision 0 is new."""
        ...

    async def events(
        self, *, rollout_id: str | None = None, model_name: str | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[events.Stored]:
        """Oldest first, by sequence number above `after`."""
        ...

    async def readings(self, rollout_id: str) -> Sequence[model.Reading]:
        """All that the judge of this rollout was given, oldest first."""
        ...

    async def forget_readings(self, before: datetime) -> int:
        """Drop readings older than this, of rollouts that have ended; at most a few thousand at a time. How many."""
        ...

    async def recall(self, key: str) -> Idempotency | None:
        """What was answered under an idempotency key, if anything."""
        ...


@dataclass(frozen=True, slots=True)
class Idempotency:
    """An idempotency key, the fingerprint of the request it came with, and the rollout it led to."""

    key: str
    fingerprint: str
    rollout_id: str
