"""Counts what requests were answered, per split epoch: what a rollout lays champion and challenger side by side by.

The gateway tells the epoch in a header, on the split alone: what testers ask of one version is not counted, and an answer counts where its
request arrived, however late it ends. One answer per request, that of its first row: the split gives requests to a version, not rows, and
a thousand rows from one caller are one fact. Bins are the same for all versions (the two leading digits of a score, the text of a
class), unlike those of `counting`, which are the version's own. It must never fail an answer. Used in the event loop alone.
An answer waits until there are many, since most of what one costs is the calls that count it.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

EPOCH_HEADER = b"x-slipway-epoch"
FORMAT = 1  # of what `counted` says
WAITING = 256  # answers of one epoch
EPOCHS = 16  # are kept; a rollout that changes the split more often has long been asked for the older ones
CLASSES = 200  # per epoch; more are one
CLASS_CHARS = 100
NULL, OTHER = "<null>", "<other>"
SMALLEST, LARGEST = 1e-9, 9.9e15
_DECADES = np.array([float(f"1e{power}") for power in range(-9, 16)])  # 10 to the powers that bins may have
_UNITS = np.array(
    [float(f"1e{power}") for power in range(-11, 15)]
)  # of the second digit, by how many decades are not above a score
_SCORES = frozenset({float, np.float64, np.float32})
_AS_THEY_ARE = _SCORES | {int, np.int64, np.int32}  # wait as they are; what else there is is read at once


class _Epoch:
    """The answers of one epoch."""

    __slots__ = ("_scores", "classes", "waiting")

    def __init__(self) -> None:
        self.waiting: list[Any] = []
        self._scores: Counter[int] = Counter()
        self.classes: dict[str, int] = {}

    def count(self) -> None:
        """What waits."""
        scores = [answer for answer in self.waiting if type(answer) in _SCORES]
        others = Counter(answer for answer in self.waiting if type(answer) not in _SCORES)
        self.waiting.clear()
        if scores:
            given = np.array(scores, dtype=np.float64)
            known = given[~np.isnan(given)]
            others[NULL] += len(given) - len(known)
            bins, many = np.unique(_bins(known), return_counts=True)
            for bin_of, count in zip(bins.tolist(), many.tolist(), strict=True):
                self._scores[bin_of] += count
        for answer, count in others.items():
            if count:
                name = str(answer)
                name = name if name in self.classes or len(self.classes) < CLASSES else OTHER
                self.classes[name] = self.classes.get(name, 0) + count

    def scores(self) -> list[tuple[float, int]]:
        """Bins, by the score in the middle of each, and how many are in it."""
        return [(_middle(bin_of), many) for bin_of, many in self._scores.items()]


def _bins(scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Each a number: its sign, its power of ten, its two leading digits. 0: next to nothing. A score's bin depends on nothing but the score, so the steps are
    such as are exact to the last bit wherever they are taken (a logarithm is not)."""
    sizes = np.minimum(np.abs(scores), LARGEST)
    powers = np.searchsorted(_DECADES, sizes, side="right")
    digits = np.rint(sizes / _UNITS[powers]).astype(np.int64)
    bins = 90 * powers + digits - 10  # 100 would be the next power's 10, and so it is
    return np.where(sizes < SMALLEST, 0, np.where(scores < 0, -bins, bins))


def _middle(bin_of: int) -> float:
    powers, digits = divmod(abs(bin_of), 90)
    return float(f"{'-' if bin_of < 0 else ''}{digits + 10}e{powers - 11}") if bin_of else 0.0


class Answers:
    """Cumulative since the start of this process."""

    def __init__(self) -> None:
        self._process = secrets.token_hex(8)  # counters of two lives are never subtracted
        self._epochs: dict[bytes, _Epoch] = {}  # as the header writes them
        self._unread = 0

    def add(self, epoch: bytes, answer: Any) -> None:
        """One request that was answered. Never raises."""
        found = self._epochs.get(epoch) or self._begun(epoch)
        if found is None:
            return
        try:
            first = answer[0]
            if type(first) not in _AS_THEY_ARE:
                first = _read(first)
        except (TypeError, ValueError, KeyError, IndexError):
            self._unread += 1
            return
        found.waiting.append(first)
        if len(found.waiting) >= WAITING:
            found.count()

    def _begun(self, epoch: bytes) -> _Epoch | None:
        """None: it is none; nobody but a gateway should have sent it."""
        if not (epoch.isdigit() and len(epoch) < 10) or epoch != b"%d" % int(epoch):
            return None
        found = self._epochs[epoch] = _Epoch()
        if len(self._epochs) > EPOCHS:
            del self._epochs[min(self._epochs, key=int)]
        return found

    def counted(self) -> Mapping[str, Any]:
        """unread: requests whose answers hold neither a number nor a text."""
        epochs = {}
        for epoch, found in self._epochs.items():
            found.count()
            if (scores := found.scores()) or found.classes:
                epochs[epoch.decode()] = {"scores": scores, "classes": list(found.classes.items())}
        return {"format": FORMAT, "process": self._process, "unread": self._unread, "epochs": epochs}


def _read(row: Any) -> float | str:
    """A score, or the name of a class. As in the reference profile, two columns are the probabilities of no and
    yes, and of several the likeliest is the answer. Raises for what is neither a number nor a text."""
    if isinstance(row, (np.ndarray, list, tuple)):
        columns = row if isinstance(row, np.ndarray) and row.ndim == 1 else np.asarray(row).reshape(-1)
        row = columns[-1] if len(columns) <= 2 else int(columns.argmax())
    value = row.item() if isinstance(row, np.generic) else row
    if isinstance(value, float):
        return value
    if value is not None and not isinstance(value, (int, str)):
        raise TypeError(type(value).__name__)
    return NULL if value is None else str(value)[:CLASS_CHARS]
