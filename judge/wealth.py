"""The wealth of a mixture of bets, in logarithms, with cash kept back for regressions that start late.

Called by the processes (`rollback`, `promotion`, `alone`), which know what to bet on; this module only keeps the books. Wealth is an
e-process as long as every factor handed in has expectation at most one under the null, given the past and the request
counts of its window. It must never see which outcome a window had before the cash is invested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, expm1, log, log1p

import numpy as np
from numpy.typing import NDArray

# Of the wealth 15 % starts as cash. After N requests (1 + N/1000)^-1/2 of it is left; the rest was spread over all starting
# times before, evenly on a logarithmic scale: requests, not minutes, so that a slow service restarts as often as a busy one,
# and a window cut in two invests exactly what the whole window would have.
CASH = 0.15
RESTART_REQUESTS = 1000.0
RESTART_POWER = 0.5


@dataclass(frozen=True, slots=True)
class Wealth:
    """log_atoms: logarithm of what each alternative's bets are worth now. log_cash: of what is not invested yet
    (None: everything was invested at the start, there are no restarts). age: requests that the cash has seen."""

    log_atoms: tuple[float, ...]
    log_cash: float | None = None
    age: int = 0

    @property
    def log(self) -> float:
        """Natural logarithm of the whole wealth, the e-value now."""
        parts = self.log_atoms if self.log_cash is None else (*self.log_atoms, self.log_cash)
        top = max(parts)
        return top + log(sum(exp(part - top) for part in parts))


def opened(weights: Sequence[float], *, restarts: bool) -> Wealth:
    """Wealth one, spread over the alternatives by their weights."""
    invested = 1.0 - CASH if restarts else 1.0
    return Wealth(tuple(log(invested * weight) for weight in weights), log(CASH) if restarts else None)


def after(wealth: Wealth, log_factors: NDArray[np.float64], weights: Sequence[float], requests: int) -> Wealth:
    """Invest the part of the cash that `requests` more requests release, then multiply each alternative by its factor."""
    atoms = np.asarray(wealth.log_atoms)
    cash, age = wealth.log_cash, wealth.age + requests
    if cash is not None and requests > 0:
        left = RESTART_POWER * (log1p(wealth.age / RESTART_REQUESTS) - log1p(age / RESTART_REQUESTS))  # log of the share kept
        atoms = np.logaddexp(atoms, cash + log(-expm1(left)) + np.log(weights))
        cash += left
    return Wealth(tuple((atoms + log_factors).tolist()), cash, age)
