"""How many challenger requests a decision takes: before a rollout from an error rate, and live from what is known so far.

Called by `rollout.preview` and by the deciding modules. A forecast is a mean: single rollouts take about
half to twice as long. Evidence is taken to grow at its expected rate; simulated means lie within 30 % of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, log

import numpy as np
from numpy.typing import NDArray

from . import blocking, blocks, counts, latency_margin
from . import error_rate as error_rate_kernel
from .blocks import Margin
from .maths import FLOATS
from .policy import InvalidPolicy, Mode, Policy
from .records import Row
from .samples import Counts

Floats = NDArray[np.float64]

FAR = 10**12  # further than anyone will wait: what a forecast says when there is no way
_FAR_STEPS: Floats = np.geomspace(1.0, FAR, 49)
_FINE_STEPS: Floats = np.geomspace(1.0 / _FAR_STEPS[1], 1.0, 33)


def requests_to_pass(policy: Policy, error_rate: float, share_pct: float) -> int:
    """Challenger requests until a version as good as the champion is shown to be within the margin, on average."""
    share = _share(share_pct)
    _check(error_rate)
    found = to_pass(policy, (), error_rate, error_rate, share)
    return FAR if found is None else found


def requests_to_detect(policy: Policy, error_rate: float, ratio: float, share_pct: float) -> int:
    """Challenger requests until a version failing `ratio` times as often is rolled back, on average (FAR: tolerated)."""
    share = _share(share_pct)
    _check(error_rate)
    if not ratio > 0.0:
        raise InvalidPolicy("ratio must be above 0")
    parts = _parts(policy, (), error_rate, min(error_rate * ratio, 1.0), share)
    needed = -log(policy.alpha * policy.weight_of("error_rate"))
    relative, absolute = parts[:2]
    both = (relative, absolute) if policy.error_rate.tolerance_pct > 0.0 else (relative, relative)
    found = first([p[0] for p in both], [p[1] for p in both], lambda courses: np.minimum(*courses), needed)
    return FAR if found is None else found


def to_pass(policy: Policy, row: Row, champion_rate: float, challenger_rate: float, share: float) -> int | None:
    """Challenger requests still missing for a pass of `error_rate` at these rates and this share (None: never)."""
    relative, absolute = _parts(policy, row, champion_rate, challenger_rate, share)[2:]
    return first(
        (relative[0], absolute[0]),
        (relative[1], absolute[1]),
        lambda courses: np.logaddexp(*courses) - log(2.0),
        -log(policy.beta),
    )


def latency_requests_to_pass(policy: Policy, champion: Counts, share_pct: float) -> int:
    """As `requests_to_pass`, of the latency guard, for a challenger as fast as the champion's answers (0: nothing known of them, or not
    guarded)."""
    guard, share = policy.latency, _share(share_pct)
    if guard is None or not champion:
        return 0
    rows = latency_margin.fresh(guard)
    found = latency_to_pass(policy, rows, latency_margin.cuts(champion, guard), share)
    return FAR if found is None else found


def latency_to_pass(
    policy: Policy,
    rows: Sequence[Row],
    at: latency_margin.Cuts,
    share: float,
    rates: Sequence[latency_margin.Rates] | None = None,
) -> int | None:
    """Challenger requests still missing until all guarded quantiles are within the margin (None: never).

    rates: how answers fall beside each cut (None: as in the champion's past).
    """
    rest, farthest = (1.0 - share) / share, 0
    for number, (far1, above0, in0) in enumerate(rates or latency_margin.rates(at)):
        own = (far1, 1.0 - far1)
        others = (rest * above0, rest * in0, rest * (1.0 - above0 - in0))
        growth = np.array(latency_margin.log_gains(at, number, own, others))
        known = np.array(latency_margin.log_atoms(rows[number]))
        found = first((known,), (growth,), lambda only: only[0], -log(policy.beta))
        if found is None:
            return None
        farthest = max(farthest, found)
    return farthest


def blocks_to_pass(
    policy: Policy, rows: Sequence[Row], margin: Margin, champion_rate: float, challenger_rate: float
) -> int | None:
    """Blocks still missing until a guard that is judged in blocks is within this margin at these rates of bad requests (None: never)."""
    row = rows[0] if rows else blocks.WITHIN
    growth = np.array(blocks.log_gains(margin, challenger_rate, min(champion_rate, margin.most)))
    return first((np.array(row[1:]),), (growth,), lambda only: only[0], -log(policy.beta))


def seconds_in_blocks(policy: Policy, error_rate: float, champion: Counts) -> float:
    """Until a healthy version was judged in enough blocks (0: no guard is judged in blocks). champion: its latencies, as far as they are known."""
    seconds, latency = 0.0, policy.latency
    if policy.error_rate.mode is Mode.BLOCK:
        needed = blocks_to_pass(policy, (), blocking.margins(policy.error_rate)[0], error_rate, error_rate)
        seconds = policy.error_rate.block_s * (FAR if needed is None else needed)
    if latency is not None and latency.mode is Mode.BLOCK and champion:
        usual = latency_margin.rates(latency_margin.cuts(champion, latency))
        for margin, (far, above, inside) in zip(blocking.margins(latency), usual, strict=True):
            needed = blocks_to_pass(policy, (), margin, above + inside, far)
            seconds = max(seconds, latency.block_s * (FAR if needed is None else needed))
    return seconds


WELL_KNOWN_REQUESTS = 1e6


def _parts(policy: Policy, row: Row, champion_rate: float, challenger_rate: float, share: float) -> list[tuple[Floats, Floats]]:
    """Of each process of `counts`: the wealth now and its growth per challenger request."""
    kernel, guard = error_rate_kernel, policy.error_rate
    known = kernel.RECORD.of(FLOATS, row) if row else _leaning(policy, champion_rate)
    pooled = share * challenger_rate + (1.0 - share) * champion_rate
    growths = counts.growth(kernel.BETS, guard, champion_rate, challenger_rate, share, pooled)
    return [(np.array(atoms), np.array(by)) for atoms, by in zip(known.processes(kernel.BETS), growths, strict=True)]


def _leaning(policy: Policy, rate: float) -> counts.Known[float]:
    """Nothing known but this rate, with the promotion wealth where it will go then."""
    known = error_rate_kernel.RECORD.of(FLOATS, error_rate_kernel.FRESH)
    known.requests, known.bad = WELL_KNOWN_REQUESTS, rate * WELL_KNOWN_REQUESTS
    counts.lean(known, error_rate_kernel.BETS, policy.error_rate, learned=True)
    return known


def first(
    known: Sequence[Floats], growth: Sequence[Floats], combine: Callable[[list[Floats]], Floats], needed: float
) -> int | None:
    """How many steps of this growth until the combined evidence is enough (None: never)."""
    steps = _FAR_STEPS
    for _ in range(2):  # coarse first, then between the last step that does not suffice and the first that does
        courses = [_course(each, by, steps) for each, by in zip(known, growth, strict=True)]
        reached = np.flatnonzero(combine(courses) >= needed)
        if not reached.size:
            return None
        end = steps[reached[0]]
        steps = np.maximum(end * _FINE_STEPS, 1.0)
    return ceil(float(end))


def _course(log_atoms: Floats, growth: Floats, steps: Floats) -> Floats:
    """Logarithm of the wealth after each of so many steps more."""
    atoms = log_atoms[:, None] + growth[:, None] * steps
    top = atoms.max(axis=0)
    course: Floats = top + np.log(np.exp(atoms - top).sum(axis=0))
    return course


def _share(share_pct: float) -> float:
    if not 0.0 < share_pct < 100.0:
        raise InvalidPolicy(f"share_pct must be above 0 and below 100 (both versions need traffic), not {share_pct}")
    return share_pct / 100.0


def _check(error_rate: float) -> None:
    if not 0.0 <= error_rate <= 1.0:
        raise InvalidPolicy(f"error_rate must be between 0 and 1, not {error_rate}")
