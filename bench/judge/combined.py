"""Promises that take more than one number: several guards under one alpha, wrong promotions, and the bookkeeping of the product itself.

* Errors, latencies and labels of the same requests (a slow request fails more often, and is wrong more often), each on the edge of
  its null, share one alpha by their weights as `judge.guards` does it.
* Versions exactly at the margin are promoted with a probability of at most beta.
* The front door: `judge.decide` itself gets the cumulative counters of the nasty worlds, reading by reading, and has to come to the
  evidence of the batch kernels on the same traffic.

Called by `bench_judge`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.judge import levels, worlds
from bench.judge.levels import chunks, promised
from bench.judge.worlds import CHALLENGER, CHAMPION, World
from judge import bins, error_rate, evidence, guards, latency, quality, slowdowns
from judge.decide import decide
from judge.policy import LatencyGuard, Policy, QualityGuard
from judge.verdict import Label

Floats = NDArray[np.float64]

TOGETHER = Policy(
    error_rate=levels.EDGE,
    latency=LatencyGuard(tolerance_pct=0.0, tolerance_ms=0.0),
    quality=QualityGuard(tolerance_ratio=1.0, tolerance_pct=0.0),
)
LOOKS = 120
LOOK_S = 30.0
SHARES = (0.01, 0.05, 0.2, 0.5)
LABELLED = 0.1  # of the requests get a label at once
SLOWEST = 0.05  # of the answers are slow ones; they fail and are wrong more often
FAILS = (0.004, 0.03)  # others, slow ones
WRONG = (0.08, 0.30)


def latency_groups(rng: np.random.Generator) -> tuple[slowdowns.Dictionary, Floats]:
    """The alternatives made from 20 000 past answers of 20 ms, some of them much slower; and the true chances of their groups, (K,)."""
    fast, slow = rng.lognormal(np.log(20_000.0), 0.4, 190_000), rng.lognormal(np.log(90_000.0), 0.6, 10_000)
    answers = bins.index_of(np.concatenate([fast, slow]))
    true = np.bincount(answers, minlength=bins.BINS) / len(answers)
    past = rng.multinomial(20_000, true)
    seen = np.flatnonzero(past)
    reference = tuple((int(index), int(past[index])) for index in seen)
    guard = TOGETHER.latency
    assert guard is not None
    dictionary = slowdowns.build(reference, (), guard.floor_pct, guard.tolerance_pct, guard.tolerance_ms)
    return dictionary, dictionary.grouped(true, challenger=False)


def _arm(rng: np.random.Generator, n: NDArray[np.int64], chances: Floats) -> tuple[Floats, ...]:
    """Latencies by group (R, K), errors, labelled and wrong (R,) of n requests; all depend on how slow each was."""
    groups = rng.multinomial(n, chances)
    slow = groups[:, chances[::-1].cumsum()[::-1] <= SLOWEST].sum(axis=1)
    errors = rng.binomial(n - slow, FAILS[0]) + rng.binomial(slow, FAILS[1])
    labelled, labelled_slow = rng.binomial(n - slow, LABELLED), rng.binomial(slow, LABELLED)
    wrong = rng.binomial(labelled, WRONG[0]) + rng.binomial(labelled_slow, WRONG[1])
    return tuple(each.astype(float) for each in (groups, n, errors, labelled + labelled_slow, wrong))


def together(rollouts: int, seed: int) -> dict[float, int]:
    """Of so many equal versions: how many are rolled back by three guards together, per alpha."""
    found = dict.fromkeys((0.05, 0.01), 0)
    for size, rng in chunks(rollouts, seed, "together"):
        dictionary, chances = latency_groups(rng)
        rows = {alpha: _Rows(alpha, dictionary, size) for alpha in found}
        for look in range(LOOKS):
            n = rng.poisson(200.0 * LOOK_S, size)
            n1 = rng.binomial(n, SHARES[look * len(SHARES) // LOOKS])
            now = chances
            if look % 40 in {20, 21}:  # an incident on both arms: the slow ones come five times as often
                late = chances[::-1].cumsum()[::-1] <= SLOWEST
                now = np.where(late, 5.0 * chances, chances)
                now = now / now.sum()
            challenger, champion = _arm(rng, n1, now), _arm(rng, n - n1, now)
            for row in rows.values():
                row.see(challenger, champion)
        for alpha, row in rows.items():
            found[alpha] += int(row.failed.sum())
    return found


class _Rows:
    """Three guards and the average of their evidence, for one alpha."""

    def __init__(self, alpha: float, dictionary: slowdowns.Dictionary, size: int) -> None:
        self.policy = Policy(alpha=alpha, error_rate=TOGETHER.error_rate, latency=TOGETHER.latency, quality=TOGETHER.quality)
        assert self.policy.quality is not None
        self.errors = error_rate.fresh(size)
        self.labels = quality.fresh(size)
        self.slow, self.dictionary = latency.fresh(size), dictionary
        self.failed = np.zeros(size, dtype=bool)

    def see(self, challenger: tuple[Floats, ...], champion: tuple[Floats, ...]) -> None:
        policy, caps = self.policy, guards.log_caps(self.policy)
        assert policy.quality is not None
        groups1, n1, x1, labelled1, wrong1 = challenger
        groups0, n0, x0, labelled0, wrong0 = champion
        error_rate.update(self.errors, policy.error_rate, n1, x1, n0, x0, log_cap=caps["error_rate"])
        quality.update(self.labels, policy.quality, labelled1, wrong1, labelled0, wrong0, log_cap=caps["quality"])
        latency.update(self.slow, self.dictionary, groups1, groups0, log_cap=caps["latency"])
        decisions = {"error_rate": self.errors.decision, "latency": self.slow.decision, "quality": self.labels.decision}
        average = sum(policy.weight_of(name) * np.exp(np.minimum(own, 500.0)) for name, own in decisions.items())
        self.failed |= np.asarray(average >= 1.0 / policy.alpha)


MARGINS = (
    World("ratio", "3 -> 6 %, ramp with incidents", (0.03, 0.06), tuple((share, 300.0) for share in SHARES), bursts=True),
    World("points", "0.5 -> 1.5 %, ramp", (0.005, 0.015), tuple((share, 300.0) for share in SHARES)),
    World("both", "1 -> 2 %, ramp", (0.01, 0.02), tuple((share, 300.0) for share in SHARES)),
)
BETA = 0.05


def promoted(world: World, rollouts: int, seed: int) -> int:
    """Of so many versions exactly at the margin."""
    found = 0
    for size, rng in chunks(rollouts, seed, world.name, "margin"):
        judge, passed = levels.Judge(size, 0.01), np.zeros(size, dtype=bool)
        for now_s, window in worlds.windows(world, rng, size):
            judge.see(now_s, window)
            passed |= judge.known.promotion >= -log(BETA)
        found += int(passed.sum())
    return found


FRONT_DOOR = ("late", "broken readings", "strata", "little", "chasing")
ONLY_ERRORS = Policy(alpha=0.05, error_rate=levels.EDGE, latency=None)


def front_door(world: World, rollouts: int, seed: int) -> tuple[int, float]:
    """How many `judge.decide` rolls back, and how far its evidence is from the kernel's on the same traffic at most, in nats."""
    rng = np.random.default_rng([seed, len(world.name)])
    judge, reader = levels.Judge(rollouts, ONLY_ERRORS.alpha), worlds.Reader(rollouts)
    states, labels = [evidence.fresh(0)] * rollouts, [Label.INSUFFICIENT] * rollouts
    for reading in worlds.readings(world, rng, rollouts):
        for window in reader.windows(reader.gains(reading)):
            judge.see(reading.now_s, window)
        for rollout in np.flatnonzero(reading.read):
            samples = worlds.samples(reading, int(rollout))
            states[rollout], verdict = decide(ONLY_ERRORS, states[rollout], samples, champion=CHAMPION, challenger=CHALLENGER)
            labels[rollout] = verdict.label
    heads = [guards.head(ONLY_ERRORS, state, "error_rate") for state in states]
    apart = np.abs([head.rollback for head in heads] - judge.known.rollback)
    return labels.count(Label.FAIL), float(apart.max())


def _rows(scale: float, seed: int) -> Iterator[tuple[list[object], float | None, bool]]:
    """Rows of the table, with what each promised and whether it was kept."""
    rollouts = max(round(levels.ROLLOUTS * scale), 200)
    for alpha, found in together(rollouts, seed).items():
        part, error, ok = promised(found, rollouts, alpha)
        row: list[object] = ["rolled back: errors, latencies, labels together", rollouts, f"{part:.4f}", f"{error:.4f}", alpha]
        yield row, part, ok
    for world in MARGINS:
        part, error, ok = promised(promoted(world, rollouts, seed), rollouts, BETA)
        yield [f"promoted at the margin: {world.title}", rollouts, f"{part:.4f}", f"{error:.4f}", BETA], part, ok
    few = max(round(40 * scale), 4)
    for name in FRONT_DOOR:
        found, apart = front_door(worlds.named(name), few, seed)
        part, error, ok = promised(found, few, ONLY_ERRORS.alpha)
        title = f"judge.decide, {worlds.named(name).title} (evidence within {apart:.0e} of the kernel's)"
        yield [title, few, f"{part:.4f}", f"{error:.4f}", ONLY_ERRORS.alpha], apart, ok and apart < SAME


SAME = 1e-6  # nats


def run(scale: float, seed: int) -> dict[str, Any]:
    found = list(_rows(scale, seed))
    parts = {str(row[0]): part for row, part, _ in found}

    def target(what: str, start: str, wanted: str, digits: str) -> dict[str, Any]:
        chosen = [(part, ok) for row, part, ok in found if str(row[0]).startswith(start) and part is not None]
        worst = max(part for part, _ in chosen)
        return {"what": what, "wanted": wanted, "measured": format(worst, digits), "ok": all(ok for _, ok in chosen)}

    return {
        "name": "combined",
        "title": "Several guards under one alpha, wrong promotions, and the product's own front door",
        "columns": ["what", "rollouts", "part", "standard error", "at most (+ 2 SE)", "kept"],
        "rows": [[*row, "yes" if ok else "NO"] for row, _, ok in found],
        "summary": {"parts": parts},
        "targets": [
            target(
                "false rollbacks by three dependent guards together, at .05 and .01", "rolled back", "<= alpha + 2 SE", ".4f"
            ),
            target("promotions of a version exactly at the margin, beta .05, worst of 3", "promoted", "<= .05 + 2 SE", ".4f"),
            target("judge.decide on counters against the kernel: largest difference, nats", "judge.decide", "< 1e-6", ".0e"),
        ],
    }
