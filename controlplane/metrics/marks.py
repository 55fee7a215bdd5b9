"""PURE. When rollouts entered their phases and steps, kept for an hour: one that was shorter than a scrape is seen all the same.

Fed by the recorder with every state that was stored. Lost with the process; where the open rollout is now is told from the store.
"""

from __future__ import annotations

from datetime import datetime

from monitoring import names
from rollout import model

from .causes import cause
from .families import ENDED_SHOWN

Labels = tuple[str, ...]


class Marks:
    def __init__(self) -> None:
        self._at: dict[tuple[names.Metric, Labels], datetime] = {}

    def saved(self, before: model.Rollout, after: model.Rollout) -> None:
        spec, was, now = after.spec, before.status, after.status
        whose = (spec.model, str(spec.version))
        if was.phase is not now.phase:
            if was.phase is model.Phase.QUEUED:  # another try of a version: the marks of the one before are history
                self._at = {key: at for key, at in self._at.items() if key[1][: len(whose)] != whose}
            self._at[names.TRANSITION, (*whose, now.phase.value, cause(after).value)] = now.phase_since
        if now.step_since not in (None, was.step_since) and now.phase is model.Phase.PROGRESSING:
            self._at[names.STEP_SINCE, (*whose, str(now.step + 1))] = now.step_since

    def shown(self, now: datetime) -> dict[tuple[names.Metric, Labels], datetime]:
        """Forgets what is older than an hour. The copy may be read in another thread."""
        self._at = {key: at for key, at in self._at.items() if now - at < ENDED_SHOWN}
        return dict(self._at)
