"""The rules that others release by, beside ours: false rollbacks of equal versions, and the time until a bad one is taken off.

Every rule sees the same traffic, window by window, for many rollouts at once. Flagger, Argo Rollouts and Kayenta are written from their
documentation and sources (2026): what a check is, when it fails, and when the failures roll back. They get what they ask for: whole
minutes, no epochs, counts of all gateways together. Called by `bench_judge`; `plots` draws what `run` returns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import log
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from bench.judge import levels, worlds
from bench.judge.worlds import World

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Counts = tuple[Floats, Floats, Floats, Floats]  # n1, x1, n0, x0, each (R,)

ROLLOUTS = 2_000
DELAYS = 400  # rollouts of each cell of the table of delays
ALPHA = 0.01
JUDGED = "slipway, alpha .01"


class Rule(Protocol):
    """One rule for R rollouts. look: what came since the last look; True where it would roll back now."""

    def look(self, now_s: float, came: Counts) -> Flags: ...


class FailedChecks:
    """Every so often one check of what came since the last; roll back when too many have failed. after_next: the threshold is looked at
    at the beginning of the next check, as Flagger does."""

    def __init__(self, every_s: float, failed: Callable[..., Flags], threshold: int, *, after_next: bool = False) -> None:
        self.every_s, self.failed, self.threshold, self.after_next = every_s, failed, threshold, after_next
        self._came: Floats | float = 0.0
        self._fails: NDArray[np.int64] | int = 0

    def look(self, now_s: float, came: Counts) -> Flags:
        self._came = self._came + np.array(came)
        if now_s % self.every_s:
            return np.zeros(len(came[0]), dtype=bool)
        before = self._fails
        with np.errstate(invalid="ignore", divide="ignore"):
            self._fails = before + self.failed(*self._came)
        self._came = 0.0
        found: Flags = np.asarray((before if self.after_next else self._fails) >= np.full(len(came[0]), self.threshold))
        return found


class ZTest:
    """Two proportions, pooled variance, one-sided, of all counts so far, at every look from ten failures on."""

    def __init__(self, level: float) -> None:
        self._critical = -float(ndtri(level))
        self._total: Floats | float = 0.0

    def look(self, now_s: float, came: Counts) -> Flags:  # noqa: ARG002 - as every rule
        self._total = self._total + np.array(came)
        n1, x1, n0, x0 = self._total
        with np.errstate(invalid="ignore", divide="ignore"):
            pooled = (x1 + x0) / (n1 + n0)
            z = (x1 / n1 - x0 / n0) / np.sqrt(pooled * (1.0 - pooled) * (1.0 / n1 + 1.0 / n0))
        found: Flags = (x1 + x0 >= 10.0) & (z > self._critical)
        return found


class Told:
    """The sequential test that knows by how much the challenger is worse: formula (2) of the method with that ratio alone."""

    def __init__(self, ratio: float, alpha: float) -> None:
        self._ratio, self._cap = ratio, -log(alpha)
        self._evidence: Floats | float = 0.0

    def look(self, now_s: float, came: Counts) -> Flags:  # noqa: ARG002 - as every rule
        n1, x1, n0, x0 = came
        with np.errstate(invalid="ignore", divide="ignore"):
            factor = x1 * log(self._ratio) - (x1 + x0) * np.log((n1 * self._ratio + n0) / (n1 + n0))
        self._evidence = self._evidence + np.where((n1 > 0.0) & (n0 > 0.0), factor, 0.0)
        found: Flags = np.asarray(self._evidence >= self._cap)
        return found


@dataclass
class Kayenta:
    """NetflixACAJudge on error rates by the minute, every five minutes from the tenth on: `high` rolls back.

    Per arm: minutes without requests are left out, then outliers (beyond three interquartile ranges and beyond the 1st and 99th
    percentile); high if the lower end of the 98 % confidence interval of the Hodges-Lehmann shift (Mann-Whitney, normal
    approximation, continuity correction, ties) is above a quarter of the shift. Only the first `few` rollouts, for it is slow; the
    others never decide and must not be counted.
    """

    few: int
    minutes: list[Floats] = field(default_factory=list)
    came: Floats | float = 0.0

    def look(self, now_s: float, came: Counts) -> Flags:
        self.came = self.came + np.array(came)[:, : self.few]
        found = np.zeros(len(came[0]), dtype=bool)
        if now_s % 60.0 == 0.0:
            n1, x1, n0, x0 = self.came
            with np.errstate(invalid="ignore", divide="ignore"):
                self.minutes.append(np.array([x1 / n1, x0 / n0]))
            self.came = 0.0
            if self.few and len(self.minutes) >= 10 and len(self.minutes) % 5 == 0:
                points = np.array(self.minutes)
                found[: self.few] = high(points[:, 0].T, points[:, 1].T)
        return found


def high(experiment: Floats, control: Floats) -> Flags:
    """Kayenta's classification of one metric for each row; points (R, minutes), nan where there are none.

    The interval's lower end is above c where the test of "the shift is c" has a z above its critical value, so no root is looked for.
    """
    x, y = _without_outliers(experiment), _without_outliers(control)
    apart = (x[:, :, None] - y[:, None, :]).reshape(len(x), -1)
    limit = 0.25 * np.abs(_percentile(np.sort(apart, axis=1), 0.5))
    m, n = (np.isfinite(points).sum(axis=1).astype(float) for points in (x, y))
    above = (apart > limit[:, None]).sum(axis=1) + 0.5 * (apart == limit[:, None]).sum(axis=1)
    z = above - m * n / 2.0
    z -= 0.5 * np.sign(z)
    total = np.maximum(m + n, 2.0)
    tied = _tied(np.concatenate([x - limit[:, None], y], axis=1))
    variance = m * n / 12.0 * (total + 1.0 - tied / (total * (total - 1.0)))
    found: Flags = (z > float(ndtri(0.99)) * np.sqrt(np.maximum(variance, 0.0))) & (variance > 0.0)
    return found


def _without_outliers(points: Floats) -> Floats:
    ordered = np.sort(points, axis=1)
    p01, p25, p75, p99 = (_percentile(ordered, part)[:, None] for part in (0.01, 0.25, 0.75, 0.99))
    low, up = np.minimum(p01, p25 - 3.0 * (p75 - p25)), np.maximum(p99, p75 + 3.0 * (p75 - p25))
    with np.errstate(invalid="ignore"):
        kept: Floats = np.where((points < low) | (points > up), np.nan, points)
    return kept


def _percentile(ordered: Floats, part: float) -> Floats:
    """Linear between neighbours (R's type 7), of rows that end in nan; nan where there is nothing."""
    known = np.isfinite(ordered).sum(axis=1)
    place = np.maximum(known - 1.0, 0.0) * part
    below = np.floor(place).astype(np.int64)
    rows = np.arange(len(ordered))
    left, right = ordered[rows, below], ordered[rows, np.minimum(below + 1, np.maximum(known - 1, 0))]
    found: Floats = left + (place - below) * (right - left)
    return found


def _tied(points: Floats) -> Floats:
    """Sum of t^3 - t over groups of t equal points of each row."""
    ordered = np.sort(points, axis=1)
    starts = np.concatenate([np.ones((len(ordered), 1), dtype=bool), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    sizes = np.bincount(np.cumsum(starts.ravel()) - 1)
    of_row = np.repeat(np.arange(len(ordered)), starts.sum(axis=1))
    found: Floats = np.bincount(of_row, weights=sizes.astype(float) ** 3 - sizes, minlength=len(ordered)).astype(float)
    return found


def rules(world: World, few: int) -> dict[str, Rule]:
    """Every rule, new. few: rollouts that the slow one looks at."""
    usual = world.rates[0]
    return {
        "Flagger, 10 failed checks": FailedChecks(60.0, lambda n1, x1, *_: ~(x1 / n1 <= 0.01), 10, after_next=True),
        "Flagger, 5 failed checks": FailedChecks(60.0, lambda n1, x1, *_: ~(x1 / n1 <= 0.01), 5, after_next=True),
        "Argo Rollouts' example": FailedChecks(300.0, lambda n1, x1, *_: ~(x1 / n1 <= 0.05), 4),
        "Kayenta, every 5 min": Kayenta(few),
        "z-test p < .05, each look": ZTest(0.05),
        "z-test p < .001, each look": ZTest(0.001),
        "2 x usual rate, 5 min": FailedChecks(60.0, lambda n1, x1, *_: x1 / n1 > 2.0 * usual, 5),
        "1.5 x stable, 5 min": FailedChecks(60.0, lambda n1, x1, n0, x0: x1 / n1 > 1.5 * x0 / n0, 5),
    }


def decided(world: World, rollouts: int, seed: int, *, few: int) -> dict[str, Floats]:
    """Seconds until each rule rolls back, (R,) (nan: never); ours too, and the one that is told the true ratio where there is one."""
    equal = world.rates[1] <= world.rates[0]
    found: dict[str, list[Floats]] = {}
    for number, (size, rng) in enumerate(levels.chunks(rollouts, seed, world)):
        looked_at = 0 if number else min(few, size)
        others = rules(world, looked_at)
        ours = {JUDGED: levels.Judge(size, ALPHA)}
        if equal:
            ours["slipway, alpha .05"] = levels.Judge(size, 0.05)
        else:
            others["told the true ratio"] = Told(world.rates[1] / world.rates[0], ALPHA)
        seconds = {name: np.full(size, np.nan) for name in others}
        reader = worlds.Reader(size)
        for reading in worlds.readings(world, rng, size):
            gains = reader.gains(reading)
            n1, x1, n0, x0 = np.sum(list(gains.values()), axis=0)
            for name, rule in others.items():
                fires = rule.look(reading.now_s, (n1, x1, n0, x0)) & np.isnan(seconds[name])
                seconds[name][fires] = reading.now_s
            for window in reader.windows(gains):
                for judge in ours.values():
                    judge.see(reading.now_s, window)
            if not equal and _over(ours[JUDGED].decided_s, seconds, looked_at):
                break
        for name, own in {**{name: judge.decided_s for name, judge in ours.items()}, **seconds}.items():
            found.setdefault(name, []).append(own[:looked_at] if name.startswith("Kayenta") else own)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _over(ours: Floats, seconds: dict[str, Floats], few: int) -> bool:
    """Whether every rule has decided every rollout (the slow one those that it looks at)."""
    told = (np.isfinite(own[: few if name.startswith("Kayenta") else None]).all() for name, own in seconds.items())
    return bool(np.isfinite(ours).all()) and all(told)


SHOWN = ("constant", "rare", "ramp", "bursts", "rare bursts", "up and down", "strata", "little")
EFFECTS = ((0.001, 0.005), (0.01, 0.02), (0.01, 0.05), (0.001, 0.002))
SHARES = (0.01, 0.05, 0.20, 0.50)
HORIZON = (3600.0, 4.0)  # seconds, or so many times the bound


def cell(p0: float, p1: float, share: float) -> tuple[World, float]:
    """A bad version at a constant share, for as long as a rule may take; and the seconds that any valid test needs on average."""
    bound_s = worlds.bound_requests(p0, p1, share, ALPHA) / 200.0
    horizon_s = 300.0 * round(max(HORIZON[0], HORIZON[1] * bound_s) / 300.0)
    return World("cell", f"{100 * p0:g} -> {100 * p1:g} %", (p0, p1), ((share, horizon_s),)), bound_s


def run(scale: float, seed: int) -> dict[str, Any]:
    many, few = max(round(ROLLOUTS * scale), 100), max(round(300 * scale), 40)
    false: dict[str, dict[str, float]] = {}
    for name in SHOWN:
        for rule, own in decided(worlds.named(name), many, seed, few=few).items():
            false.setdefault(rule, {})[name] = float(np.isfinite(own).mean())
    delays: list[dict[str, Any]] = []
    for p0, p1 in EFFECTS:
        for share in SHARES:
            world, bound_s = cell(p0, p1, share)
            found = decided(world, max(round(DELAYS * scale), 60), seed, few=max(round(60 * scale), 20))
            mean = {rule: (float(np.nanmean(own)) if np.isfinite(own).any() else np.inf) for rule, own in found.items()}
            part = {rule: float(np.isfinite(own).mean()) for rule, own in found.items()}
            delays.append({"effect": world.title, "share": share, "bound_s": bound_s, "mean_s": mean, "found": part})
    return {
        "name": "peers",
        "title": "Ours and others: false rollbacks of equal versions in an hour",
        "columns": ["rule", *SHOWN],
        "rows": [[rule, *(f"{of[name]:.3f}" for name in SHOWN)] for rule, of in false.items()],
        "more": [
            {
                "title": "Mean seconds until a bad version is rolled back (-: most never)",
                "columns": ["error rate", "share", "bound", *delays[0]["mean_s"]],
                "rows": [_row(delay) for delay in delays],
            }
        ],
        "summary": {"false": false, "delays": [_finite(delay) for delay in delays]},
        "targets": _targets(delays),
    }


def _row(delay: dict[str, Any]) -> list[str]:
    means = (f"{mean:.0f}" if delay["found"][rule] >= 0.5 else "-" for rule, mean in delay["mean_s"].items())
    return [delay["effect"], f"{100 * delay['share']:g} %", f"{delay['bound_s']:.0f}", *means]


def _finite(delay: dict[str, Any]) -> dict[str, Any]:
    """For JSON: none instead of infinity."""
    return {**delay, "mean_s": {rule: mean if np.isfinite(mean) else None for rule, mean in delay["mean_s"].items()}}


def _targets(delays: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by = {(d["effect"], d["share"]): d for d in delays}
    fast, blind = by["1 -> 5 %", 0.05], by["0.1 -> 0.5 %", 0.05]
    ours = fast["mean_s"][JUDGED]
    others = [fast["mean_s"][rule] for rule in fast["mean_s"] if rule.startswith(("Flagger", "Argo", "Kayenta"))]
    return [
        {
            "what": "1 -> 5 % errors at a share of 5 %: times faster than the fastest of Flagger, Argo, Kayenta",
            "wanted": ">= 10",
            "measured": round(min(others) / ours, 1),
        },
        {
            "what": "0.1 -> 0.5 % at 5 %, where thresholds are blind: part found within the horizon",
            "wanted": ">= 0.99",
            "measured": round(blind["found"][JUDGED], 4),
        },
    ]
