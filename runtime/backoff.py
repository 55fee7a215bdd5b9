"""PURE. How long to wait before a replica is started again. Called by the supervisor after every end of a process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """The first restart comes quickly, each further one later; a replica that ran well for a while starts afresh."""

    first_s: float = 0.2
    factor: float = 2.0
    longest_s: float = 30.0
    forgiven_s: float = 60.0  # after running so long, earlier failures no longer count

    def __post_init__(self) -> None:
        if not (0 < self.first_s <= self.longest_s and self.factor >= 1 and self.forgiven_s >= 0):
            raise ValueError("backoff: need 0 < first_s <= longest_s, factor >= 1 and forgiven_s >= 0")

    def failures(self, before: int, ran_s: float) -> int:
        """Failures in a row, now that a process ended after `ran_s`."""
        return 1 if ran_s >= self.forgiven_s else before + 1

    def delay_s(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        if failures < 1:
            return 0.0
        # the exponent is bounded, so that a long night of crashes does not overflow
        return min(self.longest_s, self.first_s * self.factor ** min(failures - 1, 64))
