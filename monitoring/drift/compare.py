"""PURE. Model or traffic? Champion and challenger over the same time: what moved on both sides is the traffic, on one side the model."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import stats

from . import scores
from .reference import Floats, Ints, Reference
from .verdict import Label, Verdict

APART = 0.05  # total variation between the two sides' predictions, beyond what chance moves
SURE = 0.01  # significance of that
FEWEST = 100  # predictions on either side


class Side(StrEnum):
    NEITHER = "neither"
    TRAFFIC = "traffic"
    MODEL = "model"
    BOTH = "both"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Comparison:
    """apart: share of predictions that would have to move for both sides to answer alike; None: they cannot be laid side by side."""

    side: Side
    sentence: str
    apart: float | None = None


def compare(champion: tuple[Reference, Ints, Verdict], challenger: tuple[Reference, Ints, Verdict]) -> Comparison:
    """Counts of the same time, each with its verdict."""
    verdicts = champion[2], challenger[2]
    if any(verdict.label is Label.NOT_ENOUGH_DATA for verdict in verdicts):
        return Comparison(Side.UNKNOWN, "Model or traffic: not enough rows on both sides to tell.")
    own, other = (_moved(verdict) for verdict in verdicts)
    both = sorted(own & other)
    apart, sure = _apart(champion, challenger)
    differ = apart is not None and sure and apart >= APART
    answers = f"they answer the same traffic differently ({100 * (apart or 0.0):.0f} % of the predictions apart)"
    if both and differ:
        return Comparison(Side.BOTH, f"Traffic and model: {_listed(both)} moved on both sides, and {answers}.", apart)
    if both:
        return Comparison(Side.TRAFFIC, f"Traffic: {_listed(both)} moved on both sides alike.", apart)
    if differ:
        return Comparison(Side.MODEL, f"Model: {answers}, and no feature moved on both sides.", apart)
    if own or other:
        which = "the champion's" if own else "the challenger's"
        only = _listed(sorted(own or other))
        return Comparison(Side.MODEL, f"Model: {only} moved against {which} reference alone; the traffic is the same.", apart)
    return Comparison(Side.NEITHER, "Neither model nor traffic moved.", apart)


def _moved(verdict: Verdict) -> set[str]:
    return {finding.column for finding in verdict.findings[:-1] if finding.drifts or finding.breaks}


def _apart(champion: tuple[Reference, Ints, Verdict], challenger: tuple[Reference, Ints, Verdict]) -> tuple[float | None, bool]:
    """Total variation between the predictions less its median by chance, and whether a chi-square test of homogeneity is sure."""
    (own, own_counts, _), (other, other_counts, _) = champion, challenger
    if (own.columns[-1].labels, own.columns[-1].edges) != (other.columns[-1].labels, other.columns[-1].edges):
        return None, False
    table: Floats = np.array([own_counts[own.starts[-1] :], other_counts[other.starts[-1] :]], dtype=np.float64)
    table = table[:, table.sum(axis=0) > 0]
    if table.sum(axis=1).min(initial=np.inf) < FEWEST or table.shape[1] < 2:
        return (0.0, False) if table.shape[1] == 1 else (None, False)
    p, q = scores.shares(table)
    pooled = table.sum(axis=0) / table.sum()
    noise = np.sqrt(pooled * (1.0 - pooled) * (1.0 / table.sum(axis=1)).sum() * 2.0 / np.pi).sum() / 2.0
    apart = max(0.0, float(scores.total_variation(p, q)) - float(noise))
    common = table[:, table.sum(axis=0) >= 5]
    sure = common.shape[1] > 1 and float(stats.chi2_contingency(common).pvalue) < SURE
    return apart, sure


def _listed(names: list[str]) -> str:
    shown = names[:3] + ([f"{len(names) - 3} more"] if len(names) > 3 else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
