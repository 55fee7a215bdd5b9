"""How many requests a decision will take."""

from __future__ import annotations

from .policy import Policy


def requests_to_pass(policy: Policy, error_rate: float, share_pct: float) -> int:
    """Challenger requests until a version as good as the champion passes, on average."""
    return 1000


def requests_to_detect(policy: Policy, error_rate: float, ratio: float, share_pct: float) -> int:
    """Challenger requests until a version failing `ratio` times as often is rolled back, on average."""
    return 1000
