"""One formula for one rollout and for a thousand.

The kernels of the guards are written once, for numbers `N`: a float where the rollout of a live model is judged, a column with one entry
per rollout where a batch is. Operators mean the same for both; the rest comes from here. FLOATS is `math`, which on a single
number is several times as fast as numpy; COLUMNS is numpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc

Floats = NDArray[np.float64]
N = TypeVar("N", float, Floats)
Truth = Any  # bool of floats, an array of them of columns


@dataclass(frozen=True, slots=True)
class Maths(Generic[N]):
    """log_add: log(exp a + exp b). log_sum: of many. doublings: the exponent of two. survival: of a Gamma variable, given shape and value.
    where: one or the other, by entry. some / every: over all entries. rows: so many numbers as (rollouts, numbers); numbers: back."""

    log: Callable[[N], N]
    log1p: Callable[[N], N]
    expm1: Callable[[N], N]
    sqrt: Callable[[N], N]
    minimum: Callable[[N, N | float], N]
    maximum: Callable[[N, N | float], N]
    log_add: Callable[[N, N], N]
    log_sum: Callable[[Sequence[N]], N]
    doublings: Callable[[N], Any]
    survival: Callable[[N, N], N]
    where: Callable[[Truth, N | float, N | float], N]
    some: Callable[[Truth], bool]
    every: Callable[[Truth], bool]
    rows: Callable[[Sequence[N]], Floats]
    numbers: Callable[[Floats], list[N]]


def _log_add(a: float, b: float) -> float:
    return a + math.log1p(math.exp(b - a)) if a >= b else b + math.log1p(math.exp(a - b))


def _log_sum(terms: Sequence[float]) -> float:
    top = max(terms)
    return top + math.log(sum([math.exp(term - top) for term in terms]))


def _log_sums(terms: Sequence[Floats]) -> Floats:
    many = np.array(terms)
    top = many.max(axis=0)
    found: Floats = top + np.log(np.exp(many - top).sum(axis=0))
    return found


FLOATS: Maths[float] = Maths(
    log=math.log,
    log1p=math.log1p,
    expm1=math.expm1,
    sqrt=math.sqrt,
    minimum=min,
    maximum=max,
    log_add=_log_add,
    log_sum=_log_sum,
    doublings=lambda x: math.frexp(x)[1],
    survival=lambda shape, value: float(gammaincc(shape, value)),
    where=lambda true, one, other: one if true else other,
    some=bool,
    every=bool,
    rows=lambda numbers: np.array([numbers]),
    numbers=lambda rows: rows[0].tolist(),
)
COLUMNS: Maths[Floats] = Maths(
    log=np.log,
    log1p=np.log1p,
    expm1=np.expm1,
    sqrt=np.sqrt,
    minimum=np.minimum,
    maximum=np.maximum,
    log_add=np.logaddexp,
    log_sum=_log_sums,
    doublings=lambda x: np.frexp(x)[1],
    survival=gammaincc,
    where=np.where,
    some=np.any,
    every=np.all,
    rows=lambda numbers: np.stack(numbers, axis=1),
    numbers=lambda rows: list(np.ascontiguousarray(rows.T)),
)
