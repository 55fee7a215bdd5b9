"""A guard's evidence about one rollout as a row of named floats, so that one rollout and a thousand are judged by the same code.

A kernel works on a structured array with one row per rollout; a single rollout is a batch of one. What is stored is the row as
a plain tuple of floats (all finite), in the order of its dtype.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Records = NDArray[np.void]  # structured, shape (rollouts,); every field is float64 or a vector of them
Row = tuple[float, ...]

# What every guard's record begins with, natural logarithms all: the e-value now against "tolerated"; the process that decides (the
# same, or its overshoot-free version for one threshold); the largest value of the latter so far; the evidence for "within the margin".
HEAD = [("rollback", "f8"), ("decision", "f8"), ("peak", "f8"), ("promotion", "f8")]


def unpack(rows: Sequence[Row], dtype: np.dtype[np.void]) -> Records:
    """Rows of stored floats as records that may be changed in place."""
    flat: Records = np.array(rows, dtype=np.float64).view(dtype)[:, 0]
    return flat


def pack(records: Records) -> list[Row]:
    """The rows to store."""
    flat = np.ascontiguousarray(records).view(np.float64).reshape(len(records), -1)
    return [tuple(row) for row in flat.tolist()]
