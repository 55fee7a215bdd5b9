"""Distributions of latencies over the judge's bins: synthetic ones, and those measured from real Python model servers.

`measured/SERVER.json` was written by `bench/measure_latency.py`: a calm server and a disturbed one side by side, as in a canary. Some
thousand answers of each leave chance in every bin, which a bound would take for information (a server beside itself would be found out in
49 s); so the histograms are smoothed over neighbouring groups of bins, which are 10 % wide.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from judge import bins, slowdowns
from judge.samples import Counts

Floats = NDArray[np.float64]

FOLDER = Path(__file__).parent / "measured"
DRAWN = 3_000_000
P90_US, P99_US = 120_000.0, 306_000.0  # of the synthetic champion


@dataclass(frozen=True)
class Pair:
    """champion, challenger: chances of the bins (BINS,). per_s: requests on both arms."""

    title: str
    champion: Floats
    challenger: Floats
    per_s: float


def sparse(counts: NDArray[np.int64]) -> Counts:
    return tuple((int(index), int(counts[index])) for index in np.flatnonzero(counts))


@lru_cache(maxsize=16)
def _drawn(seed: int) -> Floats:
    """Microseconds: lognormal around 50 ms, 5 % around 200 ms."""
    rng = np.random.default_rng([seed, 9])
    fast, slow = rng.lognormal(np.log(50e3), 0.5, DRAWN), rng.lognormal(np.log(200e3), 0.5, DRAWN)
    found: Floats = np.where(rng.random(DRAWN) < 0.05, slow, fast)
    return found


def _chances(latency_us: Floats) -> Floats:
    return np.bincount(bins.index_of(latency_us), minlength=bins.BINS) / len(latency_us)


def synthetic(times: float = 1.0) -> Floats:
    """Chances of the bins of a service that is so many times as slow as the synthetic champion."""
    return _chances(_drawn(0) * times)


def _stretched(times: float) -> Floats:
    """Beyond its p90, the logarithm of the latency grows so that p99 is so many times as slow."""
    latency_us = _drawn(1)
    power = 1.0 + np.log(times) / np.log(P99_US / P90_US)
    found: Floats = np.where(latency_us > P90_US, P90_US * (latency_us / P90_US) ** power, latency_us)
    return found


def _more_slow_ones() -> Floats:
    rng = np.random.default_rng(8)
    slow = rng.lognormal(np.log(200e3), 0.5, DRAWN)
    found: Floats = np.where(rng.random(DRAWN) < 0.0316, slow, _drawn(1))  # 5 % become 8
    return found


REGRESSIONS: dict[str, Callable[[], Floats]] = {
    "synthetic: all + 10 %": lambda: _drawn(1) * 1.1,
    "synthetic: p99 + 20 %": lambda: _stretched(1.2),
    "synthetic: p99 + 50 %": lambda: _stretched(1.5),
    "synthetic: slow path 5 -> 8 %": _more_slow_ones,
}


def synthetic_pairs(per_s: float) -> list[Pair]:
    champion = synthetic()
    return [Pair(title, champion, _chances(slower()), per_s) for title, slower in REGRESSIONS.items()]


KERNEL = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0


def _smoothed(counts: Floats) -> Floats:
    """Chances; what a group of bins has lies in its first bin."""
    groups = np.add.reduceat(counts, slowdowns.STARTS)
    first = int(np.flatnonzero(groups)[0])
    spread = np.convolve(groups, KERNEL, mode="same")
    spread[: max(first - 1, 0)] = 0.0
    found = np.zeros_like(counts)
    found[slowdowns.STARTS] = spread / spread.sum()
    return found


def measured_pairs() -> list[Pair]:
    """Of every server that was measured; "none" is the same server twice."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        document = json.loads(path.read_text())
        for pair in document["pairs"]:
            arms = [slowdowns.dense(tuple((at, count) for at, count in pair[arm])) for arm in ("champion", "challenger")]
            title = f"{document['server']}: {pair['disturbance']}"
            found.append(Pair(title, _smoothed(arms[0]), _smoothed(arms[1]), 2.0 * document["rate"]))
    return found
