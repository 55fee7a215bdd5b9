"""Cumulative counts as a gateway reports them, and the windows between two readings of them.

Called by the control plane's pass with what `rollout.ports.Gateway.samples` returned. Counters are cumulative, so a missed
reading loses nothing, and the cursor is stored with the rollout, so a restart never counts a window twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class InvalidSamples(ValueError):
    """The counts cannot be true: negative, or more errors than requests."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Cumulative counts of one version in one split epoch, as one gateway process reports them.

    gateway: identity of the gateway *process*, new after every restart, so counters of two lives are never subtracted.
    epoch: the split epoch under which the requests *arrived* (late timeouts count where they arrived).
    requests: logical requests through the split route, retries counted once. errors: those answered 5xx or not at all.
    """

    gateway: str
    epoch: int
    version: int
    requests: int
    errors: int

    def __post_init__(self) -> None:
        if self.requests < 0 or self.errors < 0 or self.errors > self.requests:
            raise InvalidSamples(
                f"impossible counts: {self.errors} errors in {self.requests} requests (version {self.version})"
            )


@dataclass(frozen=True, slots=True)
class Arm:
    """One version's share of a window: n requests, x of them errors."""

    requests: int
    errors: int


@dataclass(frozen=True, slots=True)
class Window:
    """What arrived under one split epoch between two readings, on both arms."""

    epoch: int
    champion: Arm
    challenger: Arm


Cursor = tuple[Sample, ...]


def windows(cursor: Cursor, samples: Iterable[Sample], champion: int, challenger: int) -> tuple[tuple[Window, ...], Cursor]:
    """The windows since `cursor`, one per epoch, and the new cursor.

    A counter that fell (a reset that kept its gateway identity) contributes nothing and becomes the new base: evidence is
    never invented. A gateway process seen for the first time counts from zero. Gateways that do not answer this time keep
    their place in the cursor.
    """
    seen = {(s.gateway, s.epoch, s.version): s for s in cursor}
    gained: dict[int, dict[int, list[int]]] = {}
    for sample in samples:
        if sample.version not in (champion, challenger):
            continue
        key = (sample.gateway, sample.epoch, sample.version)
        before = seen.get(key)
        requests = sample.requests - (before.requests if before else 0)
        errors = sample.errors - (before.errors if before else 0)
        seen[key] = sample
        if requests < 0 or errors < 0 or errors > requests:
            continue
        arm = gained.setdefault(sample.epoch, {}).setdefault(sample.version, [0, 0])
        arm[0] += requests
        arm[1] += errors
    found = tuple(
        Window(epoch, Arm(*arms.get(champion, (0, 0))), Arm(*arms.get(challenger, (0, 0))))
        for epoch, arms in sorted(gained.items())
        if any(requests for requests, _ in arms.values())
    )
    return found, tuple(seen[key] for key in sorted(seen))
