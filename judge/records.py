"""A guard's evidence about one rollout, or about a batch: named numbers which its kernel changes in place.

What is stored of one rollout is a plain tuple of floats (all finite), in the order of the fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self

import numpy as np

from .maths import Floats, Maths, N

Row = tuple[float, ...]


@dataclass(slots=True)
class Record(Generic[N]):
    """Natural logarithms. rollback: the e-value now against "tolerated". decision: the process that decides, the same or its overshoot-free
    version for one threshold. peak: the largest decision so far. promotion: the evidence for "within the margin". log_atoms: the wealth on each
    alternative in the order of the kernel, and the cash. age: requests that the cash has seen."""

    maths: Maths[N]
    rollback: N
    decision: N
    peak: N
    promotion: N
    log_atoms: list[N]
    age: N

    TAIL: ClassVar[int] = 1  # fields after the atoms

    @classmethod
    def of(cls, maths: Maths[N], numbers: Sequence[N]) -> Self:
        """From the numbers in order: FLOATS and a stored row, or COLUMNS and `columns`."""
        fields: list[Any] = [*numbers[:4], list(numbers[4 : -cls.TAIL]), *numbers[-cls.TAIL :]]
        return cls(maths, *fields)

    def numbers(self) -> tuple[N, ...]:
        """What `of` wants."""
        head = (self.rollback, self.decision, self.peak, self.promotion)
        return head + tuple(self.log_atoms) + (self.age,)


def columns(row: Row, size: int) -> list[Floats]:
    """So many rollouts, all like this one."""
    return [np.full(size, number) for number in row]
