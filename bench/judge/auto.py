"""The schedule `auto`, from the first request to the end: minutes until a healthy version is promoted, bad answers until others are gone.

200 requests/s, a look every two seconds, by the product's own functions: `judge.decide` on cumulative counters, `rollout.schedule` for the share.
Called by `bench_judge`; `plots` draws single courses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.judge.worlds import CHALLENGER, CHAMPION
from judge import evidence
from judge.decide import decide
from judge.policy import ErrorRateGuard, Policy
from judge.samples import Sample
from judge.verdict import Label
from rollout import schedule
from rollout.model import Ramp

RATE_PER_S, LOOK_S = 200, 2.0
LOOKS = 1200
RELEASE = Policy(
    alpha=0.05,
    latency=None,
    error_rate=ErrorRateGuard(tolerance_ratio=1.0, tolerance_pct=0.0, margin_ratio=1.5, margin_pct=0.2),
)
P0 = 0.005
AT_ONCE = Ramp(bake_s=0.0)  # what is measured is how fast it decides; a bake time is added to that
ROLLOUTS = 200
LATE_S = 600.0


@dataclass
class Course:
    """A rollout look by look: seconds, share in percent, log10 of the evidence to roll back and to promote. bad: answers of the
    challenger that failed."""

    seconds: list[float]
    share_pct: list[int]
    worse: list[float]
    within: list[float]
    outcome: str
    bad: int


def course(policy: Policy, p0: float, p1: Callable[[float], float], rng: np.random.Generator, ramp: Ramp) -> Course:
    """One rollout. p1: the challenger's error rate at a second."""
    state, told = evidence.fresh(0), Course([], [], [], [], "still open", 0)
    weight_pct, since_s, epoch = schedule.first(ramp, RATE_PER_S).weight_pct, 0.0, 1
    counts = np.zeros(4, dtype=int)  # of this epoch: n1, x1, n0, x0
    for look in range(1, LOOKS + 1):
        now_s = look * LOOK_S
        n = int(rng.poisson(RATE_PER_S * LOOK_S))
        n1 = int(rng.binomial(n, weight_pct / 100.0))
        came = np.array([n1, rng.binomial(n1, p1(now_s)), n - n1, rng.binomial(n - n1, p0)])
        counts += came
        told.bad += int(came[1])
        m1, x1, m0, x0 = (int(count) for count in counts)
        samples = Sample("g", epoch, CHAMPION, m0, x0), Sample("g", epoch, CHALLENGER, m1, x1)
        state, verdict = decide(policy, state, samples, champion=CHAMPION, challenger=CHALLENGER)
        told.seconds.append(now_s)
        told.share_pct.append(weight_pct)
        told.worse.append(verdict.evidence)
        told.within.append(verdict.findings[0].promotion_evidence)
        if verdict.label is Label.FAIL:
            told.outcome = "rolled back"
            break
        if verdict.label is Label.PASS and weight_pct >= ramp.hold_pct and now_s - since_s >= ramp.bake_s:
            told.outcome = "promoted"
            break
        if now_s - since_s >= ramp.reaction_s:
            share = schedule.following(ramp, weight_pct, RATE_PER_S, verdict)
            if share.weight_pct != weight_pct:
                weight_pct, since_s, epoch = share.weight_pct, now_s, epoch + 1
                counts[:] = 0
    return told


VERSIONS: tuple[tuple[str, Callable[[float], float]], ...] = (
    ("healthy: 0.5 %", lambda _: P0),
    ("twice the errors: 1 %", lambda _: 2.0 * P0),
    ("five times: 2.5 %", lambda _: 5.0 * P0),
    ("10 %", lambda _: 0.1),
    ("dead: 100 %", lambda _: 1.0),
)
BAKED = "four times from minute 10 on, bake of 15 min"


def run(scale: float, seed: int) -> dict[str, Any]:
    rollouts = max(round(ROLLOUTS * scale), 20)
    cases = [(title, p1, AT_ONCE) for title, p1 in VERSIONS]
    cases.append((BAKED, lambda now_s: P0 if now_s < LATE_S else 4.0 * P0, replace(AT_ONCE, bake_s=900.0)))
    rows: list[list[object]] = []
    found: dict[str, dict[str, float]] = {}
    for number, (title, p1, ramp) in enumerate(cases):
        rngs = (np.random.default_rng([seed, 7, number, rollout]) for rollout in range(rollouts))
        courses = [course(RELEASE, P0, p1, rng, ramp) for rng in rngs]
        minutes = np.array([told.seconds[-1] / 60.0 for told in courses])
        bad = np.array([told.bad for told in courses])
        back = float(np.mean([told.outcome == "rolled back" for told in courses]))
        promoted = float(np.mean([told.outcome == "promoted" for told in courses]))
        found[title] = {"minutes": float(minutes.mean()), "bad": float(bad.mean()), "rolled_back": back, "promoted": promoted}
        cells = (
            f"{minutes.mean():.2f}",
            f"{np.quantile(minutes, 0.95):.1f}",
            f"{back:.3f}",
            f"{promoted:.3f}",
            f"{bad.mean():.1f}",
        )
        rows.append([title, *cells, f"{np.quantile(bad, 0.95):.0f}"])
    healthy, dead = found[VERSIONS[0][0]], found[VERSIONS[-1][0]]
    return {
        "name": "auto",
        "title": f"The schedule auto: 200 requests/s, 0.5 % errors, alpha = beta = .05, {rollouts} rollouts each",
        "columns": ["challenger", "minutes", "p95", "rolled back", "promoted", "bad answers", "p95"],
        "rows": rows,
        "summary": found,
        "targets": [
            {"what": "healthy: mean minutes to the decision", "wanted": "<= 2.9", "measured": round(healthy["minutes"], 2)},
            {"what": "dead: mean bad answers served", "wanted": "<= 10", "measured": round(dead["bad"], 1)},
        ],
    }
