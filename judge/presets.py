"""Policies by name, for those who do not want to think about probabilities.

`standard` is what an empty policy means. `cautious` is for models where a bad answer costs more than a slow release, `fast` for internal
ones where it is the other way round. A preset is a starting point: any of its values may be changed.
"""

from __future__ import annotations

from .policy import ErrorRateGuard, Fallback, LatencyGuard, OnDrift, Policy

CAUTIOUS = Policy(
    alpha=0.02,  # rather one false alarm in fifty releases than a bad version that stays longer
    beta=0.01,
    error_rate=ErrorRateGuard(tolerance_ratio=1.0, tolerance_pct=0.05, margin_ratio=1.5, margin_pct=0.3),
    latency=LatencyGuard(tolerance_pct=5.0, tolerance_ms=2.0, margin_pct=20.0, margin_ms=5.0),
    insufficient_deadline_s=6 * 3600.0,
    blind_deadline_s=300.0,
    on_blind=Fallback.ROLL_BACK,
    on_drift=OnDrift.HOLD,
)
STANDARD = Policy()
FAST = Policy(
    alpha=0.01,
    beta=0.1,
    error_rate=ErrorRateGuard(tolerance_ratio=1.25, tolerance_pct=0.5, margin_ratio=3.0, margin_pct=3.0),
    latency=LatencyGuard(tolerance_pct=25.0, tolerance_ms=10.0, margin_pct=100.0, margin_ms=25.0, quantiles_pct=(50.0, 90.0)),
    insufficient_deadline_s=1800.0,
)

PRESETS = {"cautious": CAUTIOUS, "standard": STANDARD, "fast": FAST}
