"""Evidence that the challenger is within the margin."""

from __future__ import annotations

from dataclasses import dataclass, field

from . import wealth

RELATIVE_WEIGHTS = (0.60, 0.15, 0.15, 0.10)
ABSOLUTE_WEIGHTS = (0.20, 0.20, 0.20, 0.20, 0.20)


@dataclass(frozen=True, slots=True)
class Promotion:
    relative: wealth.Wealth = field(default_factory=lambda: wealth.opened(RELATIVE_WEIGHTS, restarts=False))
    absolute: wealth.Wealth = field(default_factory=lambda: wealth.opened(ABSOLUTE_WEIGHTS, restarts=False))
