"""What people may ask of a rollout, and when. Each command records an intent; the loop obeys it.

Called by the API. Commands are idempotent: one that changes nothing returns the rollout it was given.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from .model import (
    TERMINAL,
    Intent,
    ModelRecord,
    Phase,
    Requests,
    Rollout,
    Spec,
    Status,
    Strategy,
)


class NotNow(Exception):
    """The request makes no sense in this phase; the message says why and what to do instead."""


def new_rollout(spec: Spec, rollout_id: str, now: datetime) -> Rollout:
    status = Status(phase=Phase.QUEUED, phase_since=now, message="Recorded; the loop takes it up.")
    return Rollout(id=rollout_id, created_at=now, spec=spec, requests=Requests(), status=status)


def pause(rollout: Rollout, intent: Intent) -> Rollout:
    """Stop advancing. The judge goes on looking and still rolls back on a `fail`."""
    _must_be_open(rollout, "pause")
    if leaving(rollout):
        raise NotNow("It is being rolled back, which cannot be paused.")
    return rollout if rollout.requests.pause else _asked(rollout, replace(rollout.requests, pause=intent))


def resume(rollout: Rollout, intent: Intent) -> Rollout:
    """Take a pause back."""
    del intent  # the event row keeps who asked
    _must_be_open(rollout, "resume")
    return _asked(rollout, replace(rollout.requests, pause=None)) if rollout.requests.pause else rollout


def promote(rollout: Rollout, intent: Intent) -> Rollout:
    """Go on without the judge: from a step to all traffic, from probation to the end."""
    phase = rollout.status.phase
    if phase in (Phase.PROMOTING, Phase.PROMOTED) and not leaving(rollout):
        return rollout
    if leaving(rollout) or phase in TERMINAL:
        raise NotNow("It was aborted or rolled back; start it again with `retry`.")
    if phase not in (Phase.PROGRESSING, Phase.PROBATION):
        raise NotNow("Its replicas are not ready yet; promote once it is progressing.")
    if promoted_by_hand(rollout) is not None:
        return rollout
    return _asked(rollout, replace(rollout.requests, promote=intent, pause=None))


def promoted_by_hand(rollout: Rollout) -> Intent | None:
    """Who asked to go on without the judge. What was asked on a step does not also end the probation."""
    asked, status = rollout.requests.promote, rollout.status
    stale = asked is not None and status.phase is Phase.PROBATION and asked.at < status.phase_since
    return None if stale else asked


def abort(rollout: Rollout, intent: Intent) -> Rollout:
    """Take the challenger off the traffic now. Wins over everything, in every open phase."""
    if rollout.status.phase is Phase.PROMOTED:
        raise NotNow("It has been promoted; use `undo` to go back to the version before.")
    if leaving(rollout) or rollout.status.phase in TERMINAL:
        return rollout
    return _asked(rollout, replace(rollout.requests, abort=intent))


def undo(rollout: Rollout, intent: Intent) -> Rollout:
    """Go back while the old champion is still warm. After the end, see `undo_spec`."""
    if rollout.status.phase is Phase.PROBATION:
        if rollout.spec.champion is None:
            raise NotNow("There is no version before this one to go back to.")
        return rollout if leaving(rollout) else _asked(rollout, replace(rollout.requests, undo=intent))
    if rollout.requests.undo:
        return rollout
    if rollout.status.phase in TERMINAL:
        raise NotNow(f"It ended {rollout.status.phase}; there is nothing to undo.")
    raise NotNow("It has not been promoted yet; use `abort` to take it off the traffic.")


def retry(rollout: Rollout, record: ModelRecord, intent: Intent) -> Spec:
    """The same again, against today's champion."""
    if rollout.open:
        raise NotNow("It is still open; abort it first.")
    if rollout.status.phase is Phase.PROMOTED:
        raise NotNow("It was promoted; there is nothing to retry.")
    return replace(
        rollout.spec, champion=record.champion, actor=intent.actor, note=intent.reason, retry_of=rollout.id, undo_of=None
    )


def undo_spec(rollout: Rollout, record: ModelRecord, intent: Intent) -> Spec:
    """A blue-green rollout back to the champion before, for when the old replicas are gone."""
    before = rollout.spec.champion
    if rollout.status.phase is not Phase.PROMOTED:
        raise NotNow("Only a promoted rollout can be undone.")
    if record.champion != rollout.spec.version:
        raise NotNow(f"Version {record.champion} is the champion by now; undo the rollout that promoted it.")
    if before is None:
        raise NotNow("There is no version before this one to go back to.")
    return replace(
        rollout.spec,
        version=before,
        champion=rollout.spec.version,
        strategy=Strategy.BLUE_GREEN,
        actor=intent.actor,
        note=intent.reason,
        retry_of=None,
        undo_of=rollout.id,
    )


def leaving(rollout: Rollout) -> bool:
    """It is on its way off the traffic, or was asked to be."""
    asked = rollout.requests.abort is not None or rollout.requests.undo is not None
    return rollout.open and (asked or rollout.status.phase is Phase.ROLLING_BACK)


def urgent(rollout: Rollout) -> bool:
    """Somebody asked to take it off the traffic and the loop has not obeyed yet."""
    return leaving(rollout) and rollout.status.phase is not Phase.ROLLING_BACK


def _asked(rollout: Rollout, requests: Requests) -> Rollout:
    return replace(rollout, requests=requests)


def _must_be_open(rollout: Rollout, verb: str) -> None:
    if not rollout.open:
        raise NotNow(f"It ended {rollout.status.phase}; there is nothing to {verb}.")
