"""Everything the judge knows about one rollout, as one small frozen value that survives as JSON.

The control plane stores it with the rollout and hands it to `decide` and `ceiling`; only the judge reads its inside. Every float in
it is finite, and it holds the sample cursor, so a restart neither loses a window nor counts one twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .alone import NONE, Alone
from .interval import Likelihood
from .promotion import Promotion
from .rollback import Rollback
from .samples import Arm, Cursor, Window

VERSION = 1  # of the shape and meaning of State


@dataclass(frozen=True, slots=True)
class State:
    """seed: where any randomness of a guard has to come from, so that a replay is bit for bit the same (`error_rate` needs none).
    cursor: the counters as read last. pending: windows too small to be judged alone, one per epoch.
    champion / challenger: what arrived on each arm while both were judged. baseline: all champion requests ever seen.
    """

    seed: int
    cursor: Cursor = ()
    pending: tuple[Window, ...] = ()
    champion: Arm = NONE
    challenger: Arm = NONE
    baseline: Arm = NONE
    rollback: Rollback = field(default_factory=Rollback)
    promotion: Promotion = field(default_factory=Promotion)
    likelihood: Likelihood = field(default_factory=Likelihood)
    alone: Alone = field(default_factory=Alone)
    version: int = VERSION


def fresh(seed: int) -> State:
    """Nothing known yet."""
    return State(seed=seed)
