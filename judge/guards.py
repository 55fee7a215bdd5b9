"""One window into every guard, and all guards under one alpha.

The guards that may roll back share alpha by their weights: the weighted average of their e-values is an e-value too, whatever the
dependence between them, so a version within all tolerances gets it over 1/alpha with probability at most alpha (Vovk and
Wang, "E-values: calibration, combination and applications", Annals of Statistics 2021). It is reached no later than any single guard reaches 1/(alpha * weight).
Called by `fold`; `findings` reads the result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import exp, log
from types import ModuleType
from typing import cast

import numpy as np

from . import bins, blocking, disagreement, error_rate, latency, latency_margin, prediction_shift, quality
from .blocking import Block, Tally
from .evidence import State
from .maths import FLOATS
from .policy import Action, ErrorRateGuard, Guard, LatencyGuard, Mode, Policy, PredictionShiftGuard
from .records import Record, Row
from .samples import Arm, Window
from .samples import total as total_of

_COUNTED: dict[str, ModuleType] = {"error_rate": error_rate, "quality": quality, "disagreement": disagreement}
SLOW_PCT = 90.0  # in block mode a request is slow beyond this quantile of the champion's past, and its tolerance
KNOWN_REQUESTS = 200  # so many champion requests fix that quantile


@dataclass(frozen=True, slots=True)
class Head:
    """Natural logarithms of a guard's evidence; fields as in `records.Record`."""

    rollback: float = 0.0
    decision: float = 0.0
    peak: float = 0.0
    promotion: float = 0.0


@lru_cache(maxsize=1024)
def log_caps(policy: Policy) -> dict[str, float]:
    """What each guard's evidence has to reach to decide alone: log(1 / (alpha * weight))."""
    return {name: -log(policy.alpha * policy.weight_of(name)) for name, _ in policy.guards()}


def action(guard: Guard) -> Action:
    return cast("Action", getattr(guard, "action", Action.ROLL_BACK))


def in_blocks(guard: Guard) -> bool:
    return getattr(guard, "mode", Mode.EXACT) is Mode.BLOCK


def head(policy: Policy, state: State, name: str) -> Head:
    """What a guard knows now, in block mode of the blocks alone."""
    if not in_blocks(getattr(policy, name)):
        return _exact(state, name)
    blocked = dict(state.blocked).get(name, blocking.Blocked())
    return replace(Head(*blocked.row[:4]), promotion=blocked.promotion)


def _exact(state: State, name: str) -> Head:
    if name in _COUNTED:
        row = dict(state.rows).get(name)
        return Head(*row[:4]) if row else Head()
    known = state.latency if name == "latency" else state.prediction_shift
    return Head(known.rollback, known.decision, known.peak, known.promotion) if known else Head()


def total(policy: Policy, state: State) -> tuple[float, str]:
    """Logarithm of the weighted average of the evidence that may roll back, and the guard that carries most of it."""
    caps = log_caps(policy)
    parts = [
        (head(policy, state, name).decision - caps[name] - log(policy.alpha), name)
        for name, guard in policy.guards()
        if action(guard) is Action.ROLL_BACK
    ]
    top, carrier = max(parts)
    return top + log(sum(exp(part - top) for part, _ in parts)), carrier


def after(policy: Policy, state: State, window: Window, now_s: float) -> State:
    """One window with requests on both arms later."""
    caps = log_caps(policy)
    for name, guard in policy.guards():
        if name in _COUNTED and not in_blocks(guard):
            tables = _tables(name, window.champion, window.challenger)
            rows = dict(state.rows)
            rows[name] = _counted(rows.get(name, ()), _COUNTED[name], guard, tables, caps[name])
            state = replace(state, rows=tuple(rows.items()))
        elif name == "latency":
            state = _latency(state, cast("LatencyGuard", guard), window, caps[name])
        elif name == "prediction_shift":
            shift = state.prediction_shift or prediction_shift.Evidence()
            shift = prediction_shift.after(shift, cast("PredictionShiftGuard", guard), window, log_cap=caps[name])
            state = replace(state, prediction_shift=shift)
        if in_blocks(guard) and (window.champion.requests or window.challenger.requests):
            state = _block(state, name, cast("ErrorRateGuard | LatencyGuard", guard), window, now_s)
    now, carrier = total(policy, state)
    failed = state.failed or (carrier if now >= -log(policy.alpha) else "")
    return replace(state, peak=max(state.peak, now), failed=failed)


def _tables(name: str, champion: Arm, challenger: Arm) -> tuple[int, ...]:
    if name == "error_rate":
        return challenger.requests, challenger.errors, champion.requests, champion.errors
    if name == "quality":
        return challenger.labelled, challenger.wrong, champion.labelled, champion.wrong
    return challenger.lost, challenger.won


def _counted(row: Row, kernel: ModuleType, guard: Guard, tables: tuple[int, ...], log_cap: float) -> Row:
    known: Record[float] = kernel.RECORD.of(FLOATS, row or kernel.FRESH)
    kernel.update(known, guard, *map(float, tables), log_cap=log_cap)
    return known.numbers()


def _latency(state: State, guard: LatencyGuard, window: Window, log_cap: float) -> State:
    """The challenger's first requests meet cold caches; until it is warm only the champion's history grows."""
    if state.challenger.requests < guard.warm_up_requests:
        window = replace(window, challenger=replace(window.challenger, latency=()))
    known = latency.after(state.latency or latency.opened(guard), guard, window, log_cap=log_cap)
    return replace(state, latency=known)


def _block(state: State, name: str, guard: ErrorRateGuard | LatencyGuard, window: Window, now_s: float) -> State:
    known = dict(state.blocked)
    blocked = known.get(name, blocking.Blocked())
    if isinstance(guard, ErrorRateGuard):
        tally, ratio = Tally(*_tables(name, window.champion, window.challenger)), guard.tolerance_ratio
        tallies: tuple[Tally, ...] = (tally,)
    else:
        blocked = replace(blocked, edge=blocked.edge or _slow_edge(state.champion))
        reference = state.latency.measured if state.latency else ()
        if not blocked.edge or not reference or state.challenger.requests < guard.warm_up_requests:
            return replace(state, blocked=tuple({**known, name: blocked}.items()))
        tally, ratio = _slow(window, blocked.edge, guard), 1.0
        cuts = latency_margin.cuts(reference, guard)
        tallies = tuple(_beyond(window, *each) for each in zip(cuts.challenger.tolist(), cuts.champion.tolist(), strict=True))
    block = Block(window.gateway, window.epoch, now_s, tally, tallies)
    blocked = blocking.after(blocked, block, ratio=ratio, margins=blocking.margins(guard), block_s=guard.block_s)
    return replace(state, blocked=tuple({**known, name: blocked}.items()))


def _slow_edge(champion: Arm) -> int:
    """The first bin beyond the champion's slow quantile; 0: too little is known of it."""
    requests = total_of(champion.latency)
    if requests < KNOWN_REQUESTS:
        return 0
    below = 0
    for index, count in champion.latency:
        below += count
        if below >= requests * SLOW_PCT / 100.0:
            return index + 1
    return 0


def _slow(window: Window, edge: int, guard: LatencyGuard) -> Tally:
    """Requests beyond the edge; the challenger's only if they are so by more than the tolerance."""
    edge_us = float(bins.lower_us()[min(edge, bins.BINS - 1)])
    far_us = max(edge_us * (1.0 + guard.tolerance_pct / 100.0), edge_us + 1000.0 * guard.tolerance_ms)
    return _beyond(window, int(np.searchsorted(bins.lower_us(), far_us)), edge)


def _beyond(window: Window, challenger: int, champion: int) -> Tally:
    """Requests from these bins on."""
    sums = [
        (total_of(arm.latency), sum([count for index, count in arm.latency if index >= first]))
        for arm, first in ((window.challenger, challenger), (window.champion, champion))
    ]
    return Tally(*sums[0], *sums[1])
