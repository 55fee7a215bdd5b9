"""Ask the judge again about what it was given: to see that it said what is recorded, and what another policy would have said.

Pure; called by the API with the stored readings. What arrived after the other policy would have decided is still what the real
rollout let arrive.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from judge.evidence import VERSION, State
from judge.policy import Policy
from judge.verdict import Label, Verdict

from . import judging
from .model import Phase, Reading, Rollout

TELLING_REQUESTS = 20  # a share of fewer is chance


@dataclass(frozen=True, slots=True)
class Look:
    """What was known after one reading. share_pct: of the challenger among the requests that came with it (None: too few came)."""

    at: datetime
    phase: Phase
    verdict: Verdict
    share_pct: float | None


@dataclass(frozen=True, slots=True)
class Replay:
    """looks: oldest first. failed / passed: the first look with that label beside the champion or alone. same: the evidence is bit for
    bit what is stored (None: judged by another policy, or nothing of this judge's is stored)."""

    looks: tuple[Look, ...]
    failed: Look | None
    passed: Look | None
    same: bool | None


def replay(rollout: Rollout, readings: Iterable[Reading], policy: Policy | None = None) -> Replay:
    """Every reading again, oldest first, by the rollout's own policy or another."""
    asked = rollout if policy is None else replace(rollout, spec=replace(rollout.spec, policy=policy))
    state: State | None = None
    looks: list[Look] = []
    seen = (0, 0)
    for reading in readings:
        state, verdict = judging.question(asked, state, reading)
        if verdict is None:
            continue
        finding = verdict.findings[0]
        now = finding.champion_requests, finding.challenger_requests
        looks.append(Look(reading.at, reading.phase, verdict, _share_pct(seen, now)))
        seen = now
    stored = rollout.status.judge
    comparable = policy is None and stored is not None and stored.version == VERSION
    same = state == stored if comparable else None
    return Replay(tuple(looks), _first(looks, Label.FAIL), _first(looks, Label.PASS), same)


def _share_pct(before: tuple[int, int], now: tuple[int, int]) -> float | None:
    """Counts start anew when the challenger is judged alone."""
    champion, challenger = (max(0, new - old) for old, new in zip(before, now, strict=True))
    return 100.0 * challenger / (champion + challenger) if champion + challenger >= TELLING_REQUESTS else None


def _first(looks: Iterable[Look], label: Label) -> Look | None:
    return next((look for look in looks if look.verdict.label is label), None)
