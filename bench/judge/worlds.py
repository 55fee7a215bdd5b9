"""Traffic to judge: seeded worlds for many rollouts at once, and what a judge reads of them.

A world yields one `Reading` every five seconds: the cumulative counters of each gateway and epoch, and who got to read them. From
readings, `windows` makes the tables that the judge's kernels take, for all rollouts at once; `samples` makes what
`judge.decide` takes, for one of them. Both must come to the same evidence; `bench.judge.levels` compares them.
Called by `levels`, `peers` and `plots`. Shapes: R rollouts, counters (4, R) in the order n1, x1, n0, x0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import log, pi, sin
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from judge.fold import ENOUGH_REQUESTS
from judge.samples import Sample

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Key = tuple[int, str]  # epoch, and the gateway process

LOOK_S = 5.0
CHAMPION, CHALLENGER = 1, 2

RAMP = ((0.01, 900.0), (0.05, 900.0), (0.2, 900.0), (0.5, 900.0))
UP_AND_DOWN = ((0.01, 600.0), (0.05, 600.0), (0.2, 600.0), (0.5, 600.0), (0.2, 600.0), (0.05, 600.0))


class Reading(NamedTuple):
    """What could be read at one look. read: who did, (R,). counters: of this epoch and the last; older ones do not change any more."""

    now_s: float
    read: Flags
    counters: dict[Key, Floats]


class Window(NamedTuple):
    """Counts (R,) that are judged together; zero for rollouts that have nothing to judge now."""

    epoch: int
    gateway: str
    n1: Floats
    x1: Floats
    n0: Floats
    x0: Floats


@dataclass(frozen=True)
class Stratum:
    """One gateway: its part of the traffic, and how its share and error rate differ from the world's."""

    part: float = 1.0
    share_times: float = 1.0
    rate_times: float = 1.0


@dataclass(frozen=True)
class World:
    """One kind of an hour.

    rates: error rates of the champion and the challenger. shares: of the challenger, each for so many seconds; every step is an epoch.
    bursts: three incidents of a minute with 20 times the errors on both arms, and a wave of 25 minutes and half the rate.
    late: part of the failures that show 30 s after the request came. by_arrival: they count in the epoch in which it came.
    retried: part of the first failures that are tried again and fail again; attempts: every try is counted (a control: wrong).
    missed / repeated: part of the readings that are not got, or got a second time instead of a new one. falls: part of the looks at which
    the counters fell to zero. restarts_s: when the gateway comes back with a new identity.
    chasing: the share of each minute depends on what was seen so far, in whichever way hurts most.
    """

    name: str
    title: str
    rates: tuple[float, float]
    shares: tuple[tuple[float, float], ...] = ((0.05, 3600.0),)
    requests_per_s: float = 200.0
    strata: tuple[Stratum, ...] = (Stratum(),)
    bursts: bool = False
    late: float = 0.0
    by_arrival: bool = True
    retried: float = 1.0
    attempts: bool = False
    missed: float = 0.0
    repeated: float = 0.0
    falls: float = 0.0
    restarts_s: tuple[float, ...] = ()
    chasing: bool = False

    @property
    def looks(self) -> int:
        return round(sum(seconds for _, seconds in self.shares) / LOOK_S)

    def epoch(self, now_s: float) -> int:
        """From one on."""
        if self.chasing:
            return 1 + int(now_s // 60.0)
        ends = np.cumsum([seconds for _, seconds in self.shares])
        return 1 + min(int(np.searchsorted(ends, now_s, side="right")), len(ends) - 1)

    def factor(self, now_s: float) -> float:
        """How many times the usual error rate both arms have."""
        if not self.bursts:
            return 1.0
        length = self.looks * LOOK_S
        incident = any(start <= now_s / length < start + 60.0 / length for start in (0.15, 0.45, 0.80))
        return (20.0 if incident else 1.0) * (1.0 + 0.5 * sin(2.0 * pi * now_s / 1500.0))


LATE_LOOKS = 6
MOST_BAD = 0.95

_NASTY = World(
    "broken readings", "readings missed, repeated, counters reset", (0.005, 0.005), UP_AND_DOWN,
    missed=0.10, repeated=0.05, falls=0.005, restarts_s=(750.0, 1500.0, 2703.0),
)  # fmt: skip
_STRATA = (Stratum(0.5, 0.2, 0.2), Stratum(0.5, 1.8, 3.0))

WORLDS: tuple[World, ...] = (
    World("constant", "constant share 5 %, 1 % errors", (0.01, 0.01)),
    World("rare", "share 1 %, 0.1 % errors", (0.001, 0.001), ((0.01, 3600.0),)),
    World("frequent", "ramp, 30 % errors", (0.3, 0.3), RAMP),
    World("ramp", "ramp 1/5/20/50 %, 1 % errors", (0.01, 0.01), RAMP),
    World("up and down", "ramp up and down, 0.5 % errors", (0.005, 0.005), UP_AND_DOWN),
    World("bursts", "ramp, incidents on both arms", (0.005, 0.005), RAMP, bursts=True),
    World("rare bursts", "ramp, incidents, 0.1 % errors", (0.001, 0.001), RAMP, bursts=True),
    World("late", "timeouts that show 30 s later, ramp up and down", (0.005, 0.005), UP_AND_DOWN, late=1.0),
    World("realised", "5 % configured, 6 % real", (0.01, 0.01), ((0.06, 3600.0),)),
    _NASTY,
    World("little", "4 requests/s, 5 % errors, empty arms", (0.05, 0.05), requests_per_s=4.0),
    World("strata", "two gateways, other shares and rates", (0.005, 0.005), UP_AND_DOWN, strata=_STRATA),
    World("retries", "retries counted once, ramp up and down", (0.006, 0.006), UP_AND_DOWN, retried=0.8),
    World("chasing", "a share that chases the evidence", (0.01, 0.01), chasing=True),
)

# Not how slipway counts: what these worlds do to a judge that counts like that shows that they are able to hurt.
CONTROLS: tuple[World, ...] = (
    World("late, by end", "control: late timeouts by the epoch in which they end", (0.005, 0.005), UP_AND_DOWN, late=1.0, by_arrival=False),
    World("attempts", "control: every try of a retried request counted", (0.006, 0.006), UP_AND_DOWN, retried=0.8, attempts=True),
)  # fmt: skip


def named(name: str) -> World:
    return next(world for world in (*WORLDS, *CONTROLS) if world.name == name)


@dataclass
class _Traffic:
    """What has arrived so far."""

    world: World
    rng: np.random.Generator
    rollouts: int
    counters: dict[Key, Floats] = field(default_factory=dict)
    late: list[tuple[int, Key, Floats]] = field(default_factory=list)
    share: Floats = field(init=False)
    seen: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.share = np.full(self.rollouts, 0.05)
        self.seen = np.zeros((4, self.rollouts))

    def look(self, number: int) -> int:
        """Five seconds more; the epoch they were in."""
        world, now_s = self.world, number * LOOK_S
        epoch = world.epoch(now_s)
        configured = world.shares[0 if world.chasing else epoch - 1][0]
        if world.chasing:
            self._chase(number)
        life = sum(now_s >= restart_s for restart_s in world.restarts_s)
        for key in [key for key in self.counters if not key[1].endswith(f".{life}")]:
            del self.counters[key]  # what nobody read before the restart is lost
        factor = world.factor(now_s)
        for place, stratum in enumerate(world.strata):
            key = (epoch, f"g{place}.{life}")
            share = self.share if world.chasing else min(configured * stratum.share_times, 0.95)
            most = MOST_BAD / (max(world.rates) * stratum.rate_times)  # the ratio stays as it is
            p0, p1 = (rate * stratum.rate_times * min(factor, most) for rate in world.rates)
            n = self.rng.poisson(world.requests_per_s * LOOK_S * stratum.part, self.rollouts)
            n1 = self.rng.binomial(n, share)
            came = np.array([n1, self.rng.binomial(n1, p1), n - n1, self.rng.binomial(n - n1, p0)], dtype=float)
            self._add(key, self._retried(came), number)
        due = [late for late in self.late if late[0] <= number]
        self.late = [late for late in self.late if late[0] > number]
        for _, key, failed in due:
            self._at(key if world.by_arrival else (epoch, key[1]))[...] += failed
        return epoch

    def _retried(self, came: Floats) -> Floats:
        if self.world.retried == 1.0:
            return came
        again = self.rng.binomial(came[[1, 3]].astype(int), self.world.retried).astype(float)
        if self.world.attempts:
            came[[0, 2]] += came[[1, 3]]
            came[[1, 3]] += again
        else:
            came[[1, 3]] = again
        return came

    def _add(self, key: Key, came: Floats, number: int) -> None:
        if self.world.late:
            failed = self.rng.binomial(came[[1, 3]].astype(int), self.world.late).astype(float)[[0, 0, 1, 1]]
            came -= failed
            self.late.append((number + LATE_LOOKS, key, failed))
        self._at(key)[...] += came
        self.seen += came

    def _at(self, key: Key) -> Floats:
        return self.counters.setdefault(key, np.zeros((4, self.rollouts)))

    def _chase(self, number: int) -> None:
        """Half of the traffic while the challenger has been unlucky, a trickle while it has not: once a minute."""
        if number % round(60.0 / LOOK_S) == 0:
            n1, x1, n0, x0 = self.seen
            unlucky = x1 * n0 > x0 * n1
            self.share = np.where(unlucky, 0.5, 0.02)


def readings(world: World, rng: np.random.Generator, rollouts: int) -> Iterator[Reading]:
    """An hour of counters, every five seconds. The arrays belong to the world: copy what is to be kept."""
    traffic = _Traffic(world, rng, rollouts)
    read = np.ones(rollouts, dtype=bool)
    for number in range(world.looks):
        epoch = traffic.look(number)
        for key in [key for key in traffic.counters if key[0] < epoch - 1]:
            del traffic.counters[key]
        if world.falls:
            fell = rng.random(rollouts) < world.falls
            for counted in traffic.counters.values():
                counted[:, fell] = 0.0
        if world.missed or world.repeated:  # read a second time instead of a new one: nothing new either
            read = rng.random(rollouts) >= world.missed + world.repeated
        yield Reading((number + 1) * LOOK_S, read, traffic.counters)


class Reader:
    """From readings to windows: what came since the last reading, and windows that wait until they hold enough. As
    `judge.samples.windows` and `judge.fold`, for many rollouts at once."""

    def __init__(self, rollouts: int) -> None:
        self._cursor: dict[Key, Floats] = {}
        self._waiting: dict[Key, Floats] = {}
        self._rollouts = rollouts

    def gains(self, reading: Reading) -> dict[Key, Floats]:
        """What came since the last reading, per key; an arm whose counters fell has nothing."""
        found: dict[Key, Floats] = {}
        for key in sorted(reading.counters):
            now, before = reading.counters[key], self._cursor.setdefault(key, np.zeros((4, self._rollouts)))
            gain = (now - before) * reading.read
            for arm in (slice(0, 2), slice(2, 4)):
                n, x = gain[arm]
                gain[arm][:, (n < 0.0) | (x < 0.0) | (x > n)] = 0.0
            np.copyto(before, now, where=reading.read)
            found[key] = gain
        for key in self._cursor.keys() - reading.counters.keys():
            del self._cursor[key]
        return found

    def windows(self, gains: dict[Key, Floats]) -> Iterator[Window]:
        newest = np.zeros(self._rollouts)
        for (epoch, _), gain in gains.items():
            newest = np.where(gain.any(axis=0), float(epoch), newest)
        for key in sorted(self._waiting.keys() | gains.keys()):
            waiting = self._waiting.setdefault(key, np.zeros((4, self._rollouts)))
            if key in gains:
                waiting += gains[key]
            elif not waiting.any():
                del self._waiting[key]
                continue
            n1, _, n0, _ = waiting
            enough = np.where(key[0] < newest, 1.0, ENOUGH_REQUESTS)
            ripe = (n1 > 0.0) & (n0 > 0.0) & (n1 + n0 >= enough)
            yield Window(*key, *(waiting * ripe))
            waiting *= ~ripe


def windows(world: World, rng: np.random.Generator, rollouts: int) -> Iterator[tuple[float, Window]]:
    """What the judge's kernels get: seconds since the start, and counts of shape (R,)."""
    reader = Reader(rollouts)
    for reading in readings(world, rng, rollouts):
        for window in reader.windows(reader.gains(reading)):
            yield reading.now_s, window


def samples(reading: Reading, rollout: int) -> tuple[Sample, ...]:
    """What the product gets of one rollout."""
    found = []
    for (epoch, gateway), counted in sorted(reading.counters.items()):
        n1, x1, n0, x0 = (int(count) for count in counted[:, rollout])
        found += [Sample(gateway, epoch, CHAMPION, n0, x0), Sample(gateway, epoch, CHALLENGER, n1, x1)]
    return tuple(found)


def bound_requests(p0: float, p1: float, share: float, alpha: float) -> float:
    """Requests on both arms that any valid test needs on average, log(1/alpha) / JS_w: judge.md section 2."""
    middle = share * p1 + (1.0 - share) * p0
    return -log(alpha) / (share * _kl(p1, middle) + (1.0 - share) * _kl(p0, middle))


def _kl(p: float, q: float) -> float:
    return p * log(p / q) + (1.0 - p) * log((1.0 - p) / (1.0 - q))
