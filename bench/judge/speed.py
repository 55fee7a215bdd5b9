"""How long does the judge take to think? One rollout, and a thousand in one batch.

The machine is shared and noisy, so what is compared is measured in turn, many times, and told as median and minimum. Called by
`bench_judge`, alone and last.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.judge.worlds import CHALLENGER, CHAMPION
from judge import bins, disagreement, error_rate, evidence, fold, latency, prediction_shift, quality, records, slowdowns
from judge.decide import decide
from judge.evidence import State
from judge.policy import DisagreementGuard, LatencyGuard, Policy, PredictionShiftGuard, QualityGuard
from judge.records import Records, Row
from judge.samples import Arm, Counts, Sample, Window

Floats = NDArray[np.float64]
Work = Callable[[], object]

ALL = Policy(quality=QualityGuard(), disagreement=DisagreementGuard(), prediction_shift=PredictionShiftGuard())
LATENCY, SHIFT = LatencyGuard(), PredictionShiftGuard()
CAP = 5.0
MANY = 1000


def _counts(rng: np.random.Generator, n: int, chances: Floats) -> Counts:
    found = rng.multinomial(n, chances)
    return tuple((int(index), int(found[index])) for index in np.flatnonzero(found))


class Scene:
    """What a service of 200 requests/s shows in two seconds at a share of 10 %, after a while."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([seed, 44])
        answers = bins.index_of(self.rng.lognormal(np.log(20_000.0), 0.5, 100_000))
        self.slow = np.bincount(answers, minlength=bins.BINS) / len(answers)
        self.classes = np.array([0.4, 0.3, 0.2, 0.1])
        self.state = evidence.fresh(0)
        self.total = {CHAMPION: Arm(), CHALLENGER: Arm()}
        for _ in range(100):
            self.state, _ = self.decide()

    def arm(self, n: int) -> Arm:
        rng, labelled = self.rng, n // 10
        few = rng.binomial(n, 0.01), rng.binomial(labelled, 0.1)
        pairs = int(rng.poisson(1)), int(rng.poisson(1))
        return Arm(n, few[0], _counts(rng, n, self.slow), _counts(rng, n, self.classes), labelled, few[1], *pairs)

    def window(self) -> Window:
        return Window(1, self.arm(360), self.arm(40), "g")

    def samples(self) -> tuple[Sample, ...]:
        """The next reading: two seconds more."""
        found = []
        for version, n in ((CHAMPION, 360), (CHALLENGER, 40)):
            arm = self.arm(n)
            self.total[version] += arm
            all_of_it = self.total[version]
            found.append(
                Sample(
                    "g", 1, version, all_of_it.requests, all_of_it.errors, latency=all_of_it.latency, answers=all_of_it.answers,
                    labelled=all_of_it.labelled, wrong=all_of_it.wrong, lost=all_of_it.lost, won=all_of_it.won,
                )
            )  # fmt: skip
        return tuple(found)

    def decide(self, policy: Policy = ALL) -> tuple[State, object]:
        return decide(policy, self.state, self.samples(), champion=CHAMPION, challenger=CHALLENGER)


class Kernels:
    """Every guard's kernel for `size` rollouts, with the tables of one window."""

    def __init__(self, scene: Scene, size: int) -> None:
        rng, window = scene.rng, scene.window()
        self.n1, self.n0 = rng.poisson(40, size).astype(float) + 1.0, rng.poisson(360, size).astype(float) + 1.0
        self.x1, self.x0 = (rng.binomial(n.astype(int), 0.01).astype(float) for n in (self.n1, self.n0))
        self.pairs = tuple(rng.poisson(1, size).astype(float) for _ in range(2))
        assert scene.state.latency is not None
        tolerated = (LATENCY.floor_pct, LATENCY.tolerance_pct, LATENCY.tolerance_ms)
        self.tilts = slowdowns.build(scene.state.latency.reference, scene.state.latency.compared, *tolerated)
        self.own, self.other = (
            np.tile(slowdowns.dense(arm.latency), (size, 1)) for arm in (window.challenger, window.champion)
        )
        self.errors, self.labels = error_rate.fresh(ALL.error_rate, size), quality.fresh(QualityGuard(), size)
        self.lost, self.slow = disagreement.fresh(DisagreementGuard(), size), latency.fresh(size)

    def errors_once(self) -> None:
        error_rate.update(self.errors, ALL.error_rate, self.n1, self.x1, self.n0, self.x0, log_cap=CAP)

    def labels_once(self) -> None:
        quality.update(self.labels, QualityGuard(), self.n1, self.x1, self.n0, self.x0, log_cap=CAP)

    def pairs_once(self) -> None:
        disagreement.update(self.lost, DisagreementGuard(), *self.pairs, log_cap=CAP)

    def latency_once(self) -> None:
        of = self.tilts
        own, other = of.grouped(self.own, challenger=True), of.grouped(self.other, challenger=False)
        latency.update(self.slow, of.tilts[None], of.log_tilts[None], own, other)

    def all_once(self) -> None:
        for once in (self.errors_once, self.latency_once, self.labels_once, self.pairs_once):
            once()

    def rows(self) -> list[list[Row]]:
        return [records.pack(known) for known in (self.errors, self.slow, self.labels, self.lost)]

    def from_rows(self, rows: list[list[Row]]) -> list[list[Row]]:
        """Stored rows in, one window, stored rows out."""
        kinds = (error_rate.RECORD, latency.RECORD, quality.RECORD, disagreement.RECORD)
        found: list[Records] = [records.unpack(row, kind) for row, kind in zip(rows, kinds, strict=True)]
        self.errors, self.slow, self.labels, self.lost = found
        self.all_once()
        return self.rows()


def interleaved(work: dict[str, Work], rounds: int) -> dict[str, list[float]]:
    """Microseconds of each piece of work, one after the other, over and over."""
    found: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, once in work.items():
            begin = time.perf_counter()
            once()
            found[name].append((time.perf_counter() - begin) * 1e6)
    return found


def _works(scene: Scene) -> tuple[dict[str, Work], dict[str, Work]]:
    one, many = Kernels(scene, 1), Kernels(scene, MANY)
    rows, more_rows = one.rows(), many.rows()
    state, window = scene.state, scene.window()
    only_defaults = Policy()
    assert state.latency is not None
    assert state.prediction_shift is not None
    slow, shift = state.latency, state.prediction_shift
    plain = _replayed(state, only_defaults)
    samples = [scene.samples() for _ in range(50)]
    turn = iter(range(10**9))

    def reading() -> tuple[Sample, ...]:
        return samples[next(turn) % len(samples)]

    def full(policy: Policy, known: State) -> object:
        return decide(policy, known, reading(), champion=CHAMPION, challenger=CHALLENGER)

    small: dict[str, Work] = {
        "kernel: error_rate": one.errors_once,
        "kernel: latency": one.latency_once,
        "kernel: quality": one.labels_once,
        "kernel: disagreement": one.pairs_once,
        "all four kernels": one.all_once,
        "all four kernels, from and to stored rows": lambda: one.from_rows(rows),
        "latency with margins and bookkeeping": lambda: latency.after(slow, LATENCY, window),
        "prediction_shift with bookkeeping": lambda: prediction_shift.after(shift, SHIFT, window),
        "fold: errors and latency": lambda: fold.fold(
            only_defaults, plain, reading(), champion=CHAMPION, challenger=CHALLENGER, now_s=0.0, by_itself=False
        ),
        "judge.decide: errors and latency": lambda: full(only_defaults, plain),
        "judge.decide: all five guards": lambda: full(ALL, state),
    }
    large: dict[str, Work] = {
        f"{MANY} rollouts: all four kernels": many.all_once,
        f"{MANY} rollouts: from and to stored rows": lambda: many.from_rows(more_rows),
    }
    return small, large


def _replayed(state: State, policy: Policy) -> State:
    """A state that only the guards of `policy` have filled, with the same past."""
    known = evidence.fresh(0)
    half = [
        Sample(s.gateway, s.epoch, s.version, s.requests // 2, s.errors // 2, latency=tuple((i, n // 2) for i, n in s.latency))
        for s in state.cursor
    ]
    for samples in (tuple(half), tuple(state.cursor)):
        known, _ = decide(policy, known, samples, champion=CHAMPION, challenger=CHALLENGER)
    return known


def run(scale: float, seed: int) -> dict[str, Any]:
    small, large = _works(Scene(seed))
    interleaved(small, 20)  # warm
    found = interleaved(small, max(round(1000 * scale), 100))
    found |= interleaved(large, max(round(60 * scale), 10))
    middle = {name: float(np.median(times)) for name, times in found.items()}
    least = {name: min(times) for name, times in found.items()}
    base = middle["kernel: error_rate"]
    rows = [[name, f"{middle[name]:.0f}", f"{least[name]:.0f}", f"{middle[name] / base:.2f}"] for name in found]
    stored, batch = "all four kernels, from and to stored rows", f"{MANY} rollouts: from and to stored rows"
    return {
        "name": "speed",
        "title": "Microseconds of one window",
        "columns": ["what", "median", "least", "times the error_rate kernel"],
        "rows": rows,
        "summary": {"median_us": middle, "least_us": least},
        "targets": [
            {"what": "one update of all guards' kernels of a rollout, stored rows to stored rows, us", "wanted": "<= 60",
             "measured": round(middle[stored], 1)},
            {"what": f"{MANY} rollouts judged in one batch, ms", "wanted": "<= 100", "measured": round(middle[batch] / 1000.0, 1)},
        ],
    }  # fmt: skip
