"""Everything the judge knows about one rollout, as one small frozen value that survives as JSON.

The control plane stores it with the rollout and hands it to `decide` and `ceiling`; only the judge reads its inside. Every float in
it is finite, and it holds the sample cursor, so a restart neither loses a window nor counts one twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .alone import Alone
from .blocking import Blocked
from .interval import Likelihood
from .latency import Evidence as LatencyEvidence
from .prediction_shift import Evidence as ShiftEvidence
from .records import Row
from .samples import Arm, Cursor, Window

VERSION = 7  # of the shape and meaning of State


@dataclass(frozen=True, slots=True)
class State:
    """seed: where any randomness of a guard has to come from, so that a replay is bit for bit the same (none needs any so far).
    cursor: the counters as read last. pending: windows too small to be judged alone, one per gateway and epoch.
    champion / challenger: what arrived on each arm while both were judged. baseline: all champion requests ever seen.
    rows: evidence of the guards that count bad requests (error_rate, quality, disagreement), by name. latency, prediction_shift: of
    those that count in bins (None: not asked yet).
    blocked: evidence of the guards that are judged in blocks, by name. likelihood: of the ratio of error rates, for people.
    peak: largest logarithm so far of the weighted average of the e-values that may roll back. failed: the guard that carried
    it over 1/alpha ("": it never got there).
    """

    seed: int
    cursor: Cursor = ()
    pending: tuple[Window, ...] = ()
    champion: Arm = field(default_factory=Arm)
    challenger: Arm = field(default_factory=Arm)
    baseline: Arm = field(default_factory=Arm)
    rows: tuple[tuple[str, Row], ...] = ()
    latency: LatencyEvidence | None = None
    prediction_shift: ShiftEvidence | None = None
    blocked: tuple[tuple[str, Blocked], ...] = ()
    likelihood: Likelihood = field(default_factory=Likelihood)
    alone: Alone = field(default_factory=Alone)
    peak: float = 0.0
    failed: str = ""
    version: int = VERSION


def fresh(seed: int) -> State:
    """Nothing known yet."""
    return State(seed=seed)
