"""The one place where the control plane reads the time.

Wall time of the start plus monotonic seconds since: a clock that is set back (or forward) while the process runs changes
nothing. What was stored by an earlier process under a later clock is handled by `rollout.machine`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class SteadyClock:
    def __init__(self) -> None:
        self._anchor = datetime.now(UTC)  # noqa: TID251  the one place
        self._start_s = time.monotonic()

    def __call__(self) -> datetime:
        return self._anchor + timedelta(seconds=time.monotonic() - self._start_s)
