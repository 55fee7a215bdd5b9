"""How fast is a change of the answers found? The guard of prediction shifts alone with all of alpha = .01, 200 requests/s.

Nothing is tolerated (odds ratio 1), as for the bound. The guard as the product calls it, one rollout after the other. Called by `bench_judge`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from bench.judge import delays, shapes
from bench.judge.delays import Cell
from judge import prediction_shift
from judge.policy import PredictionShiftGuard
from judge.samples import Arm, Window

Floats = NDArray[np.float64]

ALPHA = 0.01
NEEDED = -log(ALPHA)
ROLLOUTS = 100
PER_S = 200.0
SHARES = (0.05, 0.20, 0.50)
SCORE_BINS = 20


@dataclass(frozen=True, eq=False)
class Change:
    """champion, challenger: chances of the classes. kind: by which target it counts."""

    title: str
    kind: str
    champion: Floats
    challenger: Floats


def _one_of_ten(before: float, after: float) -> tuple[Floats, Floats]:
    """One class of ten; the others lose in proportion."""
    others = np.array([0.3, 0.2, 0.15, 0.1, 0.08, 0.07, 0.05, 0.03, 0.02])
    others = others / others.sum()
    before_, after_ = (np.append(part, (1.0 - part) * others) for part in (before, after))
    return before_, after_


def _score(a: float) -> Floats:
    found: Floats = np.diff(beta.cdf(np.linspace(0.0, 1.0, SCORE_BINS + 1), a, 5.0))
    return found


CHANGES = (
    Change("binary: 10 -> 12 %", "binary", np.array([0.9, 0.1]), np.array([0.88, 0.12])),
    Change("binary: 40 -> 43 %", "binary", np.array([0.6, 0.4]), np.array([0.57, 0.43])),
    Change("one class of ten: 30 -> 33 %", "class", *_one_of_ten(0.30, 0.33)),
    Change("one class of ten: 5 -> 7 %", "class", *_one_of_ten(0.05, 0.07)),
    Change("one class of ten: 1 -> 2 %", "class", *_one_of_ten(0.01, 0.02)),
    Change("score: Beta(2, 5) -> Beta(2.2, 5)", "score", _score(2.0), _score(2.2)),
)
WANTED = {"binary": 1.35, "score": 1.75, "class": 2.0}


def first(change: Change, share: float, rng: np.random.Generator, look_s: float, looks: int) -> float:
    """Seconds until one rollout is stopped (nan: never)."""
    guard = PredictionShiftGuard(tolerance_odds=1.0, ordered=change.kind == "score")
    known = prediction_shift.Evidence()
    for look in range(1, looks + 1):
        n1, n0 = int(rng.poisson(PER_S * look_s * share)), int(rng.poisson(PER_S * look_s * (1.0 - share)))
        own = Arm(n1, 0, answers=shapes.sparse(rng.multinomial(n1, change.challenger)))
        other = Arm(n0, 0, answers=shapes.sparse(rng.multinomial(n0, change.champion)))
        known = prediction_shift.after(known, guard, Window(1, other, own), log_cap=NEEDED)
        if known.peak >= NEEDED:
            return look * look_s
    return float("nan")


def cell(change: Change, share: float, rollouts: int, seed: int) -> Cell:
    bound = delays.bound_s(share, change.champion, change.challenger, ALPHA, PER_S)
    look_s = max(1.0, round(bound / 20.0))
    looks = int(delays.HORIZON * bound / look_s) + 2
    rng = np.random.default_rng([seed, 6, len(change.title), round(100 * share)])
    own = np.array([first(change, share, rng, look_s, looks) for _ in range(rollouts)])
    return delays.measured(change.title, share, bound, own, np.array([]), horizon_s=looks * look_s, counts=bound >= 10.0)


def run(scale: float, seed: int) -> dict[str, Any]:
    rollouts = max(round(ROLLOUTS * scale), 10)
    cells = {change: [cell(change, share, rollouts, seed) for share in SHARES] for change in CHANGES}
    targets = [
        delays.mean_target(f"answers, {kind}", [c for change, of in cells.items() if change.kind == kind for c in of], most)
        for kind, most in WANTED.items()
    ]
    title = f"Answers: mean delay at 200 requests/s, twenty looks a bound, alpha .01, {rollouts} rollouts a cell"
    return delays.section("answers", title, [c for of in cells.values() for c in of], targets)
