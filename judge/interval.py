"""The ratio of error rates with its anytime-valid confidence interval."""

from __future__ import annotations

from dataclasses import dataclass

NODES = 48


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Log-likelihood of the ratio at fixed nodes."""

    log_values: tuple[float, ...] = (0.0,) * NODES
    champion_errors: int = 0
    challenger_errors: int = 0
