"""Counts what requests were answered, per split epoch: what a rollout lays champion and challenger side by side by.

The gateway tells the epoch in a header, on the split alone: what testers ask of one version is not counted, and an answer counts where its
request arrived, however late it ends. One answer per request, that of its first row: the split gives requests to a version, not rows, and
a thousand rows from one caller are one fact. Bins are the same for all versions (the two leading digits of a score, the text of a
class), unlike those of `counting`, which are the version's own. It must never fail an answer. Used in the event loop alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np

EPOCH_HEADER = b"x-slipway-epoch"
FORMAT = 1  # of what `counted` says
EPOCHS = 16  # are kept; a rollout that changes the split more often has long been asked for the older ones
CLASSES = 200  # per epoch; more are one
CLASS_CHARS = 100
NULL, OTHER = "<null>", "<other>"
SMALLEST, LARGEST = 1e-9, 9.9e15


class Answers:
    """Cumulative since the start of this process."""

    def __init__(self) -> None:
        self._process = secrets.token_hex(8)  # counters of two lives are never subtracted
        self._epochs: dict[int, tuple[dict[str, int], dict[str, int]]] = {}  # scores and classes
        self._unread = 0

    def add(self, epoch: bytes, answer: Any) -> None:
        """One request that was answered. Never raises."""
        if not (epoch.isdigit() and len(epoch) < 10):  # nobody but a gateway should have sent it
            return
        try:
            is_score, name = _read(answer)
        except (TypeError, ValueError, KeyError, IndexError):
            self._unread += 1
            return
        scores, classes = self._of(int(epoch))
        if is_score:
            scores[name] = scores.get(name, 0) + 1
        else:
            name = name if name in classes or len(classes) < CLASSES else OTHER
            classes[name] = classes.get(name, 0) + 1

    def _of(self, epoch: int) -> tuple[dict[str, int], dict[str, int]]:
        found = self._epochs.get(epoch)
        if found is None:
            found = self._epochs[epoch] = {}, {}
            if len(self._epochs) > EPOCHS:
                del self._epochs[min(self._epochs)]
        return found

    def counted(self) -> Mapping[str, Any]:
        """unread: requests whose answers hold neither a number nor a text."""
        epochs = {
            str(epoch): {"scores": [(float(bin_of), many) for bin_of, many in scores.items()], "classes": list(classes.items())}
            for epoch, (scores, classes) in self._epochs.items()
        }
        return {"format": FORMAT, "process": self._process, "unread": self._unread, "epochs": epochs}


def _read(answer: Any) -> tuple[bool, str]:
    """Whether the first row's answer is a score, and its bin or class. As in the reference profile, two columns are the probabilities of no and
    yes, and of several the likeliest is the answer. Raises for what is neither a number nor a text."""
    row = answer[0]
    if isinstance(row, (np.ndarray, list, tuple)):
        columns = row if isinstance(row, np.ndarray) and row.ndim == 1 else np.asarray(row).reshape(-1)
        row = columns[-1] if len(columns) <= 2 else int(columns.argmax())
    value = row.item() if isinstance(row, np.generic) else row
    if isinstance(value, float) and value == value:  # noqa: PLR0124 - NaN differs from itself
        return True, _bin(value)
    if value is not None and not isinstance(value, float | int | str):
        raise TypeError(type(value).__name__)
    return False, NULL if value is None or isinstance(value, float) else str(value)[:CLASS_CHARS]


def _bin(score: float) -> str:
    size = min(abs(score), LARGEST)
    return f"{-size if score < 0.0 else size:.1e}" if size >= SMALLEST else "0"
