"""Evidence from blocks of time, for bad requests that come in bursts on single replicas: judge.md section 4, "block mode".

Y, the challenger's part of a block's bad requests, lies between 0 and 1 whatever the burst; if the version is tolerable its mean, given the past, is
at most m = w r / (w r + 1 - w) at share w and tolerated ratio r. Each block multiplies the wealth by 1 + f (Y - m) / m (Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting", JRSS B 2024). One row per rollout; called by `blocking`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import wealth
from .bet import Floats
from .records import HEAD, Records

PARTS = np.array([0.15, 0.35, 0.6, 0.85])  # of the wealth at stake
WEIGHTS = np.array([0.3, 0.3, 0.25, 0.15])

RECORD = np.dtype([*HEAD, ("log_atoms", "f8", (len(PARTS) + 1,)), ("age", "f8")])


SURPRISE = 2.2  # times the mean that is tolerated: about what doubles the largest stake


def fresh(size: int = 1) -> Records:
    found: Records = np.zeros(size, RECORD)
    found["log_atoms"] = np.log(np.append((1.0 - wealth.CASH) * WEIGHTS, wealth.CASH))
    return found


def update(known: Records, ratio: float, n1: Floats, x1: Floats, n0: Floats, x0: Floats) -> None:
    """One block for each row: requests n and bad ones x of the challenger (1) and the champion (0), shape (R,).
    Blocks without bad requests, or with an empty arm, say nothing."""
    told, part, mean = _parts(ratio, n1, x1, n0, x0)
    atoms = known["log_atoms"]
    wealth.invest(atoms[:, :-1], atoms[:, -1], known["age"], np.where(told, n1, 0.0), np.log(WEIGHTS))
    atoms[:, :-1] += np.log1p(PARTS * ((part - mean) / mean)[:, None])
    evidence = wealth.log_sums(atoms, [0])[:, 0]
    known["rollback"] = known["decision"] = evidence
    known["peak"] = np.maximum(known["peak"], evidence)


def surprising(ratio: float, n1: Floats, x1: Floats, n0: Floats, x0: Floats) -> NDArray[np.bool_]:
    """Where so many of the bad requests are the challenger's that the rest of the same incident may lie in the next block: that one is not
    bet on, since what it shows is no news. A choice made before it begins, so the promise holds."""
    told, part, mean = _parts(ratio, n1, x1, n0, x0)
    found: NDArray[np.bool_] = told & (part > SURPRISE * mean)
    return found


def _parts(ratio: float, n1: Floats, x1: Floats, n0: Floats, x0: Floats) -> tuple[NDArray[np.bool_], Floats, Floats]:
    """Whether a block tells anything, the challenger's part of its bad requests, and the most that this is on average if it is tolerable."""
    told = (n1 > 0.0) & (n0 > 0.0) & (x1 + x0 > 0.0)
    weighted = n1 * ratio
    mean = np.where(told, weighted / np.maximum(weighted + n0, 1e-300), 0.5)
    part = np.where(told, x1 / np.maximum(x1 + x0, 1.0), mean)
    return told, part, mean
