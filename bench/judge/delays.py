"""How long until something is decided, as a multiple of the information bound; shared by the sections that measure speed.

The bound is log(1/alpha) / JS_w requests on both arms (judge.md section 2): no valid test that does not know the champion beforehand needs
fewer on average. Cells whose bound is shorter than a few looks measure the looks, not the judge, and do not count for a target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from judge.records import Record

Floats = NDArray[np.float64]
R = TypeVar("R", bound=Record[Floats])
NEVER_S = 1e6
HORIZON = 8.0  # bounds after which a rollout is given up, and counted as if it had been decided then


@dataclass(frozen=True)
class Cell:
    """One line of a table. own_s / told_s: mean seconds of ours, and of the test that is told the truth (nan: none).
    undecided: part of the rollouts. counts: whether the bound is long enough to count."""

    title: str
    share: float
    bound_s: float
    own_s: float
    told_s: float
    undecided: float
    counts: bool

    @property
    def ratio(self) -> float:
        return self.own_s / self.bound_s

    def row(self) -> list[object]:
        told = f"{self.told_s / self.bound_s:.2f}" if self.told_s < NEVER_S else "-"
        shown = f"{self.ratio:.2f}" if self.counts else f"({self.ratio:.2f})"
        return [
            self.title,
            f"{100 * self.share:g} %",
            f"{self.bound_s:.1f}",
            f"{self.own_s:.1f}",
            shown,
            told,
            f"{self.undecided:.3f}",
        ]


COLUMNS = ["what changes", "share", "bound s", "ours s", "ratio", "told the truth", "undecided"]


def divergence(share: float, champion: Floats, challenger: Floats) -> float:
    """Jensen-Shannon divergence of two distributions over outcomes with these weights, in nats."""
    middle = share * challenger + (1.0 - share) * champion
    return share * _kl(challenger, middle) + (1.0 - share) * _kl(champion, middle)


def _kl(p: Floats, q: Floats) -> float:
    some = p > 0.0
    return float((p[some] * np.log(p[some] / q[some])).sum())


def bound_s(share: float, champion: Floats, challenger: Floats, alpha: float, per_s: float) -> float:
    return -log(alpha) / divergence(share, champion, challenger) / per_s


def until(known: R, rows: int, see: Callable[[R, int], None], reached: Callable[[R], Any], look_s: float, looks: int) -> Floats:
    """Seconds until each of the rollouts has `reached`, (rows,); nan for those that never did. see: one look for as many as are left, in place."""
    found, left = np.full(rows, np.nan), np.arange(rows)
    for look in range(1, looks + 1):
        see(known, len(left))
        over = np.asarray(reached(known))
        found[left[over]] = look * look_s
        known, left = known.of(known.maths, [each[~over] for each in known.numbers()]), left[~over]
        if not left.size:
            break
    return found


def measured(title: str, share: float, bound: float, own: Floats, told: Floats, *, horizon_s: float, counts: bool) -> Cell:
    """A cell of seconds per rollout; who was never decided counts with the horizon."""
    told_s = float(np.where(np.isnan(told), horizon_s, told).mean()) if told.size else np.nan
    return Cell(
        title, share, bound, float(np.where(np.isnan(own), horizon_s, own).mean()), told_s, float(np.isnan(own).mean()), counts
    )


def told(see: Callable[[int], Floats], rollouts: int, needed: float, look_s: float, looks: int) -> Floats:
    """As `until`, of the likelihood ratio that knows both distributions. see: log factors of one look for so many rollouts."""
    won, found = np.zeros(rollouts), np.full(rollouts, np.nan)
    left = np.arange(rollouts)
    for look in range(1, looks + 1):
        won[left] += see(len(left))
        found[left[won[left] >= needed]] = look * look_s
        left = np.flatnonzero(np.isnan(found))
        if not left.size:
            break
    return found


def section(name: str, title: str, cells: list[Cell], targets: list[dict[str, Any]]) -> dict[str, Any]:
    """What a section returns."""
    return {
        "name": name,
        "title": title,
        "columns": COLUMNS,
        "rows": [cell.row() for cell in cells],
        "summary": {
            "cells": [
                {
                    "what": c.title,
                    "share": c.share,
                    "bound_s": c.bound_s,
                    "own_s": c.own_s,
                    "ratio": c.ratio,
                    "counts": c.counts,
                }
                for c in cells
            ]
        },
        "targets": targets,
    }


def mean_target(what: str, cells: list[Cell], most: float) -> dict[str, Any]:
    ratios = [cell.ratio for cell in cells if cell.counts]
    return {
        "what": f"{what}: mean of {len(ratios)} cells",
        "wanted": f"<= {most:g}",
        "measured": round(float(np.mean(ratios)), 3),
    }


def worst_target(what: str, cells: list[Cell], most: float) -> dict[str, Any]:
    ratios = [cell.ratio for cell in cells if cell.counts]
    return {
        "what": f"{what}: worst of {len(ratios)} cells",
        "wanted": f"<= {most:g}",
        "measured": round(float(np.max(ratios)), 3),
    }
