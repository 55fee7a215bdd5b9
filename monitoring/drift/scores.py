"""PURE. How far the counts of a window are from those of the reference, for all columns at once and for any number of windows.

Shapes: `window` is (..., columns, places) and `reference` may be broadcast against it, both from `Reference.padded`, nulls last. Places that
a column does not have are empty on both sides and add nothing. Cost: columns x places, whatever the traffic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .reference import Floats, Reference

EMPTY = 0.5  # rows that an empty place counts as where a logarithm needs it


@dataclass(frozen=True, slots=True)
class Scores:
    """Each of shape (..., columns). psi: population stability index, in nats. jensen_shannon: the distance, base 2, from 0 to 1.
    total_variation: the share of rows that would have to move, 0 to 1. wasserstein: in standard deviations of the reference, of what is
    no null. kolmogorov_smirnov: 0 to 1, as well. The last two are 0 for categories. shift: of the mean, in standard deviations, with
    its sign. nulls, unseen, outside, far: shares of the window's rows; outside holds the far ones, too."""

    psi: Floats
    jensen_shannon: Floats
    total_variation: Floats
    wasserstein: Floats
    kolmogorov_smirnov: Floats
    shift: Floats
    nulls: Floats
    unseen: Floats
    outside: Floats
    far: Floats


def shares(counts: Floats) -> Floats:
    """Of the column's rows; zeros where there are none."""
    total = counts.sum(axis=-1, keepdims=True)
    found: Floats = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    return found


def scores(window: Floats, reference: Floats, layout: Reference) -> Scores:
    p, q = shares(window), shares(reference)
    distances = ordered_distances(window, reference, layout)
    tails = tail_shares(p, layout)
    return Scores(
        psi=psi(window, reference),
        jensen_shannon=jensen_shannon(p, q),
        total_variation=total_variation(p, q),
        wasserstein=distances[0],
        kolmogorov_smirnov=distances[1],
        shift=distances[2],
        nulls=p[..., -1],
        unseen=tails[0],
        outside=tails[1],
        far=tails[2],
    )


def psi(window: Floats, reference: Floats) -> Floats:
    """Sum of (p - q) ln(p / q). A place that is empty on one side counts as half a row there, on both sides it counts nothing."""
    some = (window > 0) | (reference > 0)
    filled = [np.where(some, np.maximum(counts, EMPTY), 0.0) for counts in (window, reference)]
    p, q = (shares(counts) for counts in filled)
    both = (p > 0) & (q > 0)
    logs = np.log(np.where(both, p, 1.0) / np.where(both, q, 1.0))
    found: Floats = ((p - q) * logs).sum(axis=-1)
    return found


def jensen_shannon(p: Floats, q: Floats) -> Floats:
    """Square root of the divergence in bits (Endres and Schindelin 2003)."""
    middle = np.log2(np.where(p + q > 0, (p + q) / 2.0, 1.0))
    own = [np.log2(np.where(share > 0, share, 1.0)) for share in (p, q)]
    total = (p * (own[0] - middle)).sum(axis=-1) + (q * (own[1] - middle)).sum(axis=-1)
    found: Floats = np.sqrt(np.maximum(total / 2.0, 0.0))
    return found


def total_variation(p: Floats, q: Floats) -> Floats:
    found: Floats = np.abs(p - q).sum(axis=-1) / 2.0
    return found


def ordered_distances(window: Floats, reference: Floats, layout: Reference) -> tuple[Floats, Floats, Floats]:
    """Wasserstein, Kolmogorov-Smirnov, shift of the mean. 0 where a side has nothing but nulls."""
    valued = (window[..., :-1].sum(axis=-1) > 0) & (reference[..., :-1].sum(axis=-1) > 0) & layout.ordered
    difference = shares(window[..., :-1]) - shares(reference[..., :-1])
    above = np.cumsum(difference, axis=-1)
    wasserstein = (np.abs(above[..., :-1]) * np.diff(layout.positions, axis=-1)).sum(axis=-1)
    shift = (difference * layout.positions).sum(axis=-1)
    return wasserstein * valued, np.abs(above).max(axis=-1) * valued, shift * valued


def tail_shares(p: Floats, layout: Reference) -> tuple[Floats, Floats, Floats]:
    """Unseen categories; numbers outside the reference's range; those of them that are far outside."""
    sizes = np.array(layout.sizes)
    columns = np.arange(len(sizes))
    ordered = layout.ordered
    unseen = np.where(ordered, 0.0, p[..., columns, sizes - 2])
    far = np.where(ordered, p[..., columns, 0] + p[..., columns, sizes - 2], 0.0)
    outside = np.where(ordered, far + p[..., columns, 1] + p[..., columns, sizes - 3], 0.0)
    return unseen, outside, far
