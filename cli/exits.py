"""The exit codes of `slipway`, one per outcome, so that scripts need not read text.

Part of the interface: numbers are never reused for something else. `--help` prints this table from TEXT.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum


class Exit(IntEnum):
    OK = 0
    INTERNAL = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_FOUND = 4
    CONFLICT = 5
    UNAVAILABLE = 6
    ROLLED_BACK = 10
    FAILED = 11
    HELD = 13
    TIMEOUT = 14
    NO_REPORT = 15
    BROKEN_DATA = 16


TEXT = {
    Exit.OK: "done; of a rollout: promoted, or under way without a hold",
    Exit.INTERNAL: "a fault in slipway itself, or a stack that did not come up",
    Exit.USAGE: "bad input: an option, a file, a value the control plane refused",
    Exit.UNREACHABLE: "the control plane does not answer",
    Exit.NOT_FOUND: "no such model, version or rollout",
    Exit.CONFLICT: "not now: another rollout is open, or this one cannot do that any more",
    Exit.UNAVAILABLE: "the control plane answers, but something it needs is away (MLflow, its database)",
    Exit.ROLLED_BACK: "the rollout is rolled back, or on its way back",
    Exit.FAILED: "the rollout failed before it got any traffic",
    Exit.HELD: "the rollout is held: paused, or waiting for evidence or for a person",
    Exit.TIMEOUT: "the time ran out while waiting",
    Exit.NO_REPORT: "a drift report could not be made, for the reason said",
    Exit.BROKEN_DATA: "the drift report is made, and its integrity checks found broken data",
}

_BY_PHASE = {
    "rolling_back": Exit.ROLLED_BACK,
    "rolled_back": Exit.ROLLED_BACK,
    "failed": Exit.FAILED,
}


class Failure(Exception):
    """A command ends here: one line for the person (`message`, and what to do next), one code for the script."""

    def __init__(self, code: Exit, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.advice = advice


def of_rollout(phase: str, holds: Collection[object]) -> Exit:
    """The code that tells the state of a rollout. How it ended counts more than a hold that is still noted on it."""
    if phase in _BY_PHASE:
        return _BY_PHASE[phase]
    return Exit.HELD if holds and phase != "promoted" else Exit.OK
