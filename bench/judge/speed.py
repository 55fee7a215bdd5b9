"""How long does the judge take to think? One rollout, and a thousand in one batch.

The machine is shared and noisy, so what is compared is measured in turn, many times: medians of the first time, when the caches hold other
work, and of again at once, as when many rollouts are judged in a row; and the minimum. Called by `bench_judge`, alone and last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from bench.judge.worlds import CHALLENGER, CHAMPION
from judge import bins, disagreement, error_rate, evidence, fold, guards, latency, quality, slowdowns
from judge.decide import decide
from judge.evidence import State
from judge.maths import COLUMNS, FLOATS, Maths, N
from judge.policy import DisagreementGuard, LatencyGuard, Policy, PredictionShiftGuard, QualityGuard
from judge.samples import Arm, Counts, Sample, Window

Floats = NDArray[np.float64]
Work = Callable[[], object]

ALL = Policy(quality=QualityGuard(), disagreement=DisagreementGuard(), prediction_shift=PredictionShiftGuard())
LATENCY, LABELS, PAIRS = LatencyGuard(), QualityGuard(), DisagreementGuard()
CAP = 5.0
MANY = 1000
AGAIN = 5
NUMBERS = np.linspace(0.0, 1.0, 10_000)
KERNELS = "one update of the guards of a rollout (errors and latency), stored numbers to stored numbers"
ALL_KERNELS = "the same of four guards (also labels and pairs)"
BATCH = f"{MANY} rollouts, four guards, in one batch"


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


class Kernels(Generic[N]):
    """Every guard's kernel for `size` rollouts, with the tables of one window: from stored numbers to stored numbers."""

    def __init__(self, scene: Scene, maths: Maths[N], size: int) -> None:
        rng, window = scene.rng, scene.window()
        n1, n0 = rng.poisson(40, size) + 1, rng.poisson(360, size) + 1
        tables = (n1, rng.binomial(n1, 0.01), n0, rng.binomial(n0, 0.01))
        self.maths: Maths[N] = maths
        self.table: list[N] = maths.numbers(np.array(tables, dtype=float).T)
        self.lost_won: list[N] = maths.numbers(rng.poisson(1.0, (size, 2)).astype(float))
        assert scene.state.latency is not None
        tolerated = (LATENCY.floor_pct, LATENCY.tolerance_pct, LATENCY.tolerance_ms)
        self.tilts = slowdowns.build(scene.state.latency.reference, scene.state.latency.compared, *tolerated)
        self.own, self.other = (
            np.tile(slowdowns.dense(arm.latency), (size, 1)) for arm in (window.challenger, window.champion)
        )
        rows = dict(scene.state.rows) | {"latency": scene.state.latency.row}  # what is usual, not what is new
        self.stored: dict[str, list[N]] = {name: maths.numbers(np.tile(row, (size, 1))) for name, row in rows.items()}

    def errors(self) -> Sequence[N]:
        known = error_rate.RECORD.of(self.maths, self.stored["error_rate"])
        error_rate.update(known, ALL.error_rate, *self.table, log_cap=CAP)
        return known.numbers()

    def labels(self) -> Sequence[N]:
        known = quality.RECORD.of(self.maths, self.stored["quality"])
        quality.update(known, LABELS, *self.table, log_cap=CAP)
        return known.numbers()

    def pairs(self) -> Sequence[N]:
        known = disagreement.RECORD.of(self.maths, self.stored["disagreement"])
        disagreement.update(known, PAIRS, *self.lost_won, log_cap=CAP)
        return known.numbers()

    def latency(self) -> Sequence[N]:
        known = latency.RECORD.of(self.maths, self.stored["latency"])
        of = self.tilts
        latency.update(known, of, of.grouped(self.own, challenger=True), of.grouped(self.other, challenger=False), log_cap=CAP)
        return known.numbers()

    def both(self) -> None:
        """Those that are asked by default."""
        self.errors()
        self.latency()

    def all(self) -> None:
        self.both()
        self.labels()
        self.pairs()


def reference() -> object:
    """Work that never changes: what this machine does in a moment."""
    return np.log1p(NUMBERS).sum()


def interleaved(work: dict[str, Work], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Microseconds of each piece of work, one after the other, over and over: the first time, when the caches hold other work, and again at
    once (the mean of AGAIN times)."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, once in work.items():
            begin = time.perf_counter()
            once()
            middle = time.perf_counter()
            for _ in range(AGAIN):
                once()
            end = time.perf_counter()
            found[name].append(((middle - begin) * 1e6, (end - middle) * 1e6 / AGAIN))
    return found


def _works(scene: Scene) -> tuple[dict[str, Work], dict[str, Work]]:
    one, many = Kernels(scene, FLOATS, 1), Kernels(scene, COLUMNS, MANY)
    near = Kernels(scene, FLOATS, 1)
    near.stored["error_rate"] = list(error_rate.FRESH)  # of a rollout that has just begun
    state, window = scene.state, scene.window()
    only_defaults = Policy()
    plain = _replayed(state, only_defaults)
    samples = [scene.samples() for _ in range(50)]
    turn = iter(range(10**9))

    def reading() -> tuple[Sample, ...]:
        return samples[next(turn) % len(samples)]

    def full(policy: Policy, known: State) -> object:
        return decide(policy, known, reading(), champion=CHAMPION, challenger=CHALLENGER)

    small: dict[str, Work] = {
        "reference: numpy's log1p of 10 000 numbers": reference,
        "kernel: error_rate": one.errors,
        "kernel: error_rate, near its threshold": near.errors,
        "kernel: latency": one.latency,
        "kernel: quality": one.labels,
        "kernel: disagreement": one.pairs,
        KERNELS: one.both,
        ALL_KERNELS: one.all,
        "a window into the evidence: errors and latency": lambda: guards.after(only_defaults, plain, window, 0.0),
        "a window into the evidence: all five guards": lambda: guards.after(ALL, state, window, 0.0),
        "counters into the state (fold): errors and latency": lambda: fold.fold(
            only_defaults, plain, reading(), champion=CHAMPION, challenger=CHALLENGER, now_s=0.0, by_itself=False
        ),
        "counters into a verdict (decide): errors and latency": lambda: full(only_defaults, plain),
        "counters into a verdict (decide): all five guards": lambda: full(ALL, state),
    }
    return small, {BATCH: many.all}


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
    found |= interleaved(large, max(round(20 * scale), 5))
    first = {name: float(np.median([each for each, _ in times])) for name, times in found.items()}
    again = {name: float(np.median([each for _, each in times])) for name, times in found.items()}
    least = {name: min(each for _, each in times) for name, times in found.items()}
    base = next(iter(again.values()))
    rows = [[name, *(f"{of[name]:.0f}" for of in (first, again, least)), f"{again[name] / base:.2f}"] for name in found]
    return {
        "name": "speed",
        "title": "Microseconds of one window",
        "columns": ["what", "first", "again at once", "least", "times the reference"],
        "rows": rows,
        "summary": {"first_us": first, "again_us": again, "least_us": least},
        "targets": [
            {"what": f"{KERNELS}, us", "wanted": "<= 60", "measured": round(again[KERNELS], 1)},
            {"what": f"{BATCH}, ms", "wanted": "<= 100", "measured": round(again[BATCH] / 1000.0, 1)},
        ],
    }  # fmt: skip
