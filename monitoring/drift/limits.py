"""PURE. From where on data are broken, and how sure a share is. Used by the streaming verdict and by the checks of the reports in depth."""

from __future__ import annotations

import numpy as np
from scipy import special

from .reference import Floats

MORE_NULLS = 0.05  # of the rows, beyond the most that any run of the reference had
FAR = 0.001  # of the rows: one in a thousand is no chance, and a thousandfold value spoils sums
UNSEEN = 0.01
SURPRISES = 3.0  # times as many new values as the reference itself brought
STUCK, LOOSE = 0.999, 0.9  # share of the fullest place: now at least, and in any run of the reference at most
SURE = 1e-4  # chance that a share is really below its lower bound


def at_least(share: Floats, rows: int) -> Floats:
    """Lower bound of a share that was seen in so many rows (Clopper and Pearson 1934), one-sided at SURE."""
    hits = np.round(share * rows)
    bound: Floats = np.where(hits > 0, special.betaincinv(np.maximum(hits, 1.0), rows - hits + 1.0, SURE), 0.0)
    return bound
