"""The wealth of mixtures of bets, in logarithms, with cash kept back for regressions that start late.

Called by the kernels of the guards, which know what to bet on. Wealth is an e-process as long as every factor has expectation at most
one under the null, given the past and the request counts of its window. The cash must never see which outcome a window had
before it is invested.
"""

from __future__ import annotations

from collections.abc import Sequence

from .maths import Maths, N

# Of the wealth 10 % starts as cash. After N requests (1 + N/1000)^-1/2 of it is left; the rest was spread over all starting
# times before, evenly on a logarithmic scale: requests, not minutes, so that a slow service restarts as often as a busy one,
# and a window cut in two invests exactly what the whole window would have.
CASH = 0.10
RESTART_REQUESTS = 1000.0
RESTART_POWER = 0.5

_NOTHING = float("-inf")


def release(maths: Maths[N], log_cash: N, age: N, requests: N) -> tuple[N, N, N]:
    """Logarithm of the cash that so many requests more release, to be spread over the alternatives by their weights; what is left of it; and
    its age then."""
    older = age + requests
    left = RESTART_POWER * (maths.log1p(age / RESTART_REQUESTS) - maths.log1p(older / RESTART_REQUESTS))  # log of the part kept
    part = -maths.expm1(left)
    released = log_cash + maths.where(part > 0.0, maths.log(maths.maximum(part, 1e-300)), _NOTHING)
    return released, log_cash + left, older


def spread(maths: Maths[N], log_atoms: Sequence[N], released: N, log_weights: Sequence[float]) -> list[N]:
    """The wealth on each alternative once the released cash was put on them by their weights."""
    return [maths.log_add(atom, released + weight) for atom, weight in zip(log_atoms, log_weights, strict=True)]


def won(log_atoms: Sequence[N], log_factors: Sequence[N]) -> list[N]:
    """The wealth on each alternative after its factor."""
    return [atom + factor for atom, factor in zip(log_atoms, log_factors, strict=True)]
