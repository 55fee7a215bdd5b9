"""Evidence from times without concurrent champion traffic."""

from __future__ import annotations

from dataclasses import dataclass, field

from . import wealth
from .rollback import WEIGHTS
from .samples import Arm


@dataclass(frozen=True, slots=True)
class Alone:
    """ceiling / margin: rates compared with, frozen when the first request arrived (None: none yet)."""

    arm: Arm = Arm(0, 0)
    ceiling: float | None = None
    margin: float | None = None
    worse: wealth.Wealth = field(default_factory=lambda: wealth.opened(WEIGHTS, restarts=True))
    within: wealth.Wealth = field(default_factory=lambda: wealth.opened((0.5, 0.3, 0.2), restarts=False))
    peak: float = 0.0
