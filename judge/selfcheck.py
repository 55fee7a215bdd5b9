"""Would the judge have rolled back the champion against itself? Asked before a rollout, of the champion's own replicas.

The replicas are dealt into two pseudo-arms, many times over, and the real kernel judges each deal over the recorded past. If it fires
more than rarely, bad requests come in bursts on single replicas: exact bets would call an incident a bad version, and errors are judged in
blocks of time. If equal replicas differ in speed, the latency tolerance has to cover that. With one replica there are no two to
compare: then stretches of time are the pseudo-arms, which finds bursts too. judge.md section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log

import numpy as np
from numpy.typing import NDArray

from . import error_rate, slowdowns
from .policy import Mode, Policy
from .samples import Sample

Floats = NDArray[np.float64]

DEALS = 64  # of the replicas into two arms
RARELY = 0.1  # part of the deals that may fire; far above any alpha, since the past is short and the deals overlap
KNOWN_REQUESTS = 2000  # with fewer, or fewer bad ones than KNOWN_ERRORS, nothing can be told
KNOWN_ERRORS = 10
TIMED_REQUESTS = 2000  # of each replica, for its quantiles to be worth comparing
QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True)
class Reading:
    """The champion's cumulative counts per replica, at a moment."""

    at_s: float
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """What was found. errors_mode: how errors have to be judged. latency_tolerance_pct: how much equal replicas differ (0: not known).
    fired_part: of the deals. sentence: for people."""

    errors_mode: Mode
    latency_tolerance_pct: float
    fired_part: float
    replicas: int
    requests: int
    sentence: str


def check(policy: Policy, readings: Sequence[Reading], *, seed: int) -> SelfCheck:
    """From the champion's past, oldest reading first. Deterministic; bounded work: DEALS x readings."""
    names, requests, errors = _gained(readings)
    seen, bad = int(requests.sum()), int(errors.sum())
    apart_pct = _apart_pct(readings[-1].samples if readings else ())
    if seen < KNOWN_REQUESTS or bad < KNOWN_ERRORS:
        known = f"{seen} requests with {bad} errors of the champion are on record"
        return SelfCheck(
            Mode.EXACT, apart_pct, 0.0, len(names), seen, f"Not enough to check the judge against: {known}.{_speed(apart_pct)}"
        )
    rng = np.random.default_rng(seed)
    arms = _by_replica(requests, errors, rng) if len(names) > 1 else _by_time(requests[:, 0], errors[:, 0], rng)
    fired = _fired(policy, *arms)
    among = f"{len(names)} replicas" if len(names) > 1 else "one replica, by stretches of time"
    if fired > RARELY:
        mode, found = (
            Mode.BLOCK,
            (
                f"The champion's errors come in bursts: judged against itself ({among}) it would have been rolled back {100 * fired:.0f} % of the "
                f"time, so errors are judged in blocks of {policy.error_rate.block_s:g} s."
            ),
        )
    else:
        mode, found = Mode.EXACT, f"Judged against itself ({among}) the champion stands: every request counts on its own."
    return SelfCheck(mode, apart_pct, fired, len(names), seen, found + _speed(apart_pct))


def applied(policy: Policy, found: SelfCheck | None) -> Policy:
    """The policy with what `auto` leaves to the check. Never less tolerant than it says, and always below the margin."""
    errors = policy.error_rate
    if errors.mode is Mode.AUTO:
        policy = replace(policy, error_rate=replace(errors, mode=found.errors_mode if found else Mode.EXACT))
    latency = policy.latency
    if latency is not None and latency.mode is Mode.AUTO:
        most = 0.9 * latency.margin_pct
        wanted = min(found.latency_tolerance_pct, most) if found else 0.0
        policy = replace(policy, latency=replace(latency, mode=Mode.EXACT, tolerance_pct=max(latency.tolerance_pct, wanted)))
    return policy


def _speed(apart_pct: float) -> str:
    return f" Its replicas differ by {apart_pct:.0f} % in speed, which is tolerated." if apart_pct >= 1.0 else ""


def _gained(readings: Sequence[Reading]) -> tuple[list[str], Floats, Floats]:
    """Names of the replicas, and what each gained between readings: requests and errors, shape (intervals, replicas)."""
    names = sorted({sample.replica for reading in readings for sample in reading.samples})
    place = {name: number for number, name in enumerate(names)}
    requests, errors = (np.zeros((max(len(readings) - 1, 0), len(names))) for _ in range(2))
    known = {sample.key: sample for sample in readings[0].samples} if readings else {}
    for row, reading in enumerate(readings[1:]):
        for sample in reading.samples:
            before = known.get(sample.key)
            n, x = sample.requests - (before.requests if before else 0), sample.errors - (before.errors if before else 0)
            known[sample.key] = sample
            if 0 <= x <= n:  # else the counters fell
                requests[row, place[sample.replica]] += n
                errors[row, place[sample.replica]] += x
    return names, requests, errors


Arms = tuple[Floats, Floats, Floats, Floats]  # n1, x1, n0, x0, each of shape (windows, deals)


def _by_replica(requests: Floats, errors: Floats, rng: np.random.Generator) -> Arms:
    """In each deal some of the replicas play the challenger: at least one, at most half."""
    replicas = requests.shape[1]
    own = np.zeros((replicas, DEALS))
    for deal in range(DEALS):
        own[rng.permutation(replicas)[: rng.integers(1, replicas // 2 + 1)], deal] = 1.0
    return requests @ own, errors @ own, requests @ (1.0 - own), errors @ (1.0 - own)


def _by_time(requests: Floats, errors: Floats, rng: np.random.Generator) -> Arms:
    """Neighbouring intervals, one of which plays the challenger."""
    pairs = len(requests) // 2
    first = rng.random((pairs, DEALS)) < 0.5
    n, x = (counts[: 2 * pairs].reshape(pairs, 2, 1) for counts in (requests, errors))
    return (
        np.where(first, n[:, 0], n[:, 1]),
        np.where(first, x[:, 0], x[:, 1]),
        np.where(first, n[:, 1], n[:, 0]),
        np.where(first, x[:, 1], x[:, 0]),
    )


def _fired(policy: Policy, n1: Floats, x1: Floats, n0: Floats, x0: Floats) -> float:
    """Part of the deals in which exact bets would have rolled the challenger back."""
    cap = -log(policy.alpha * policy.weight_of("error_rate"))
    known = error_rate.fresh(n1.shape[1])
    for window in range(len(n1)):
        error_rate.update(known, policy.error_rate, n1[window], x1[window], n0[window], x0[window], log_cap=cap)
    return float((known.peak >= cap).mean())


def _apart_pct(samples: Sequence[Sample]) -> float:
    """How much slower the slowest replica is than all others together, at its worst quantile."""
    of: dict[str, Floats] = {}
    for sample in samples:
        of[sample.replica] = of.get(sample.replica, 0.0) + slowdowns.dense(sample.latency)
    timed = [counts for counts in of.values() if counts.sum() >= TIMED_REQUESTS]
    if len(timed) < 2:
        return 0.0
    everything = np.sum(timed, axis=0)
    apart = 0.0
    for counts in timed:
        for part in QUANTILES:
            own, others = (slowdowns.quantile_us(arm, part) for arm in (counts, everything - counts))
            apart = max(apart, own / others - 1.0)
    return 100.0 * apart
