"""Counts features and predictions into the bins of the version's reference profile: all that drift is computed from later.

Called by the worker thread after each call of the model (`Counted`), and read by `exposing` when somebody asks. What it costs depends on
rows and columns, never on what was counted before. It must never fail an answer: whatever goes wrong here is counted and logged once.

Places are those of the profile (format 2). Numbers: far below, below, one per bin, above, far above, null. Texts: one per value, other, unseen, null.
"""

from __future__ import annotations

import hashlib
import logging
import math
import secrets
import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from . import predictor, signature

FORMAT = 2  # of the profile
PROFILE = Path("slipway") / "profile.json"
VALUE_CHARS = 100  # as in the profile
NULL, OTHER, UNSEEN = "<null>", "<other>", "<unseen>"

LOG = logging.getLogger("bentoml.slipway")


class Unreadable(ValueError):
    """The profile cannot be counted with; the message says why."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A numeric column: `edges` ascend, the outermost ones begin the far places. `search`: the same with NaN behind them, which sorts
    last and so gives nulls their place."""

    name: str
    edges: list[float]
    search: np.ndarray[Any, Any]

    @property
    def bins(self) -> list[str]:
        """What each place is called: by its lower edge between the tails."""
        inner = [repr(edge) for edge in self.edges[1:-2]]
        return ["<far below>", "<below>", *inner, "<above>", "<far above>", NULL]

    def one(self, value: Any) -> int:
        if value is None:
            return len(self.edges) + 1
        number = float(value)
        return bisect_right(self.edges, number) if number == number else len(self.edges) + 1  # noqa: PLR0124 - NaN differs from itself

    def many(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if values.dtype.kind == "M":  # seconds since 1970, as in the profile
            numbers = np.where(np.isnat(values), np.nan, values.astype("datetime64[ns]").astype(np.int64) / 1e9)
        else:
            numbers = values.astype(np.float64, copy=False)
        return np.searchsorted(self.search, numbers, side="right")


@dataclass(frozen=True, slots=True)
class Texts:
    """A categorical column. `place`: of every known value, and of null."""

    name: str
    values: list[str]
    place: Mapping[Any, int]
    missing: int  # the place of a value that is not known

    @property
    def bins(self) -> list[str]:
        # a value that looks like one of our words must not become the same series
        return [*(f"={value}" if value.startswith(("<", "=")) else value for value in self.values), OTHER, UNSEEN, NULL]

    def one(self, value: Any) -> int:
        try:
            found = self.place.get(value)
        except TypeError:  # a list or an object
            found = None
        if found is not None:
            return found
        if value != value:  # noqa: PLR0124 - as above
            return len(self.values) + 2
        return self.place.get(str(value)[:VALUE_CHARS], self.missing)

    def many(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        one, place = self.one, self.place
        try:
            found = [place.get(value, -1) for value in values.tolist()]
        except TypeError:
            found = [one(value) for value in values.tolist()]
        if -1 in found:
            found = [one(value) if index < 0 else index for index, value in zip(found, values.tolist(), strict=True)]
        return np.array(found, dtype=np.intp)


Column = Numbers | Texts


@dataclass(frozen=True, slots=True)
class Reference:
    """What to count. `raw` is the document, `fingerprint` tells it from others. The predictions are the last column."""

    columns: tuple[Column, ...]
    weights: tuple[float, ...]
    reads: str
    raw: bytes
    fingerprint: str


def read(raw: bytes) -> Reference:
    """Raises Unreadable."""
    try:
        document = orjson.loads(raw)
        form = document.get("format")
        entries = [*document["features"], document["predictions"]] if form == FORMAT else []
        columns = tuple(_column(entry) for entry in entries)
        weights = tuple(float(entry.get("importance") or 0.0) for entry in entries)
        reads = str(document["predictions"]["reads"]) if entries else ""
    except Unreadable:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"it is no reference profile: {type(error).__name__}: {error}") from error
    if form != FORMAT:
        raise Unreadable(f"its format is {form!r}, and this bento reads {FORMAT}; publish the version anew")
    return Reference(columns, weights, reads, raw, hashlib.sha256(raw).hexdigest()[:16])


def _column(entry: Mapping[str, Any]) -> Column:
    name = str(entry["name"])
    if entry["kind"] == "numeric":
        edges = [float(edge) for edge in entry["edges"]]
        if len(edges) < 4 or edges != sorted(set(edges)) or not all(map(math.isfinite, edges)):
            raise Unreadable(f"the edges of {name} must be at least four finite numbers that ascend")
        return Numbers(name, edges, np.array([*edges, math.nan]))
    if entry["kind"] != "categorical":
        raise Unreadable(f"{name} is of an unknown kind: {entry['kind']!r}")
    values, rare = [str(value) for value in entry["values"]], entry["rare"]
    other = len(values)
    place: dict[Any, int] = {str(value): other for value in rare or ()}
    place |= {value: index for index, value in enumerate(values)}
    place[None] = other + 2
    return Texts(name, values, place, other if rare is None else other + 1)


def load(model: Path) -> Reference | str:
    """The profile in the model's folder (as in the registry) or beside it (as packaged), or why there is nothing to count with."""
    inside, beside = model / PROFILE, model.parent / PROFILE
    try:
        return read((inside if inside.is_file() else beside).read_bytes())
    except FileNotFoundError:
        return "the version has no reference profile; publish it with registry.publish"
    except OSError as error:
        return f"the reference profile cannot be read: {error.strerror}"
    except Unreadable as error:
        return f"the reference profile cannot be used: {error}"


class Counter:
    """Cumulative counts since the start of this process. `count` in one thread, the rest in any."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.process = secrets.token_hex(8)  # counters of two lives are never subtracted
        sizes = [len(column.bins) for column in reference.columns]
        self.starts = [sum(sizes[:index]) for index in range(len(sizes))]
        self._size = sum(sizes)
        features = zip(reference.columns[:-1], self.starts, sizes, strict=False)
        self._features = [(column.name, column, start, start + size - 1) for column, start, size in features]
        self._ones = [0] * self._size  # of single rows: a list is faster for these than an array
        self._many = np.zeros(self._size, dtype=np.int64)
        self._lock = threading.Lock()
        self._read = _READ.get(reference.reads)
        self.rows = 0
        self.failures = 0

    def count(self, data: signature.Input, answer: Any) -> None:
        """One call of the model. Never raises."""
        try:
            given = self._predictions(answer)
            rows = len(given) if given is not None else _rows(data)
            table = data if isinstance(data, dict) else {}
            if rows == 1:
                self._one(table, given)
            elif rows:
                self._batch(table, given, rows)
        except Exception:
            self.failures += 1
            if self.failures == 1:
                LOG.exception("rows cannot be counted for drift; serving goes on, and this is said once")

    def _one(self, table: Mapping[str, Any], given: np.ndarray[Any, Any] | None) -> None:
        places = []
        for name, column, start, null in self._features:
            values = table.get(name)
            if values is None:
                places.append(null)
            elif values.dtype.kind == "M":
                places.append(start + int(column.many(values)[0]))
            else:
                places.append(start + column.one(values.item()))
        if given is not None:
            places.append(self.starts[-1] + self.reference.columns[-1].one(given.item()))
        with self._lock:
            ones = self._ones
            for place in places:
                ones[place] += 1
            self.rows += 1

    def _batch(self, table: Mapping[str, Any], given: np.ndarray[Any, Any] | None, rows: int) -> None:
        found = []
        for name, column, start, null in self._features:
            values = table.get(name)
            # a column that does not come at all is one of nulls
            found.append(np.full(rows, null) if values is None else column.many(values) + start)
        if given is not None:
            found.append(self.reference.columns[-1].many(given) + self.starts[-1])
        if not found:
            return
        counted = np.bincount(np.concatenate(found), minlength=self._size)
        with self._lock:
            self._many += counted
            self.rows += rows

    def _predictions(self, answer: Any) -> np.ndarray[Any, Any] | None:
        """None: an answer of another shape than at training, which leaves the predictions uncounted."""
        if self._read is None:
            return None
        array = answer if isinstance(answer, np.ndarray) else np.asarray(answer)
        return self._read(array) if array.ndim else None

    def counts(self) -> tuple[int, list[int]]:
        """Rows, and the counts of all places of all columns in their order."""
        with self._lock:
            return self.rows, (self._many + np.array(self._ones, dtype=np.int64)).tolist()

    def series(self) -> list[tuple[str, Sequence[str], Sequence[int]]]:
        """Per column: name, names of its places, counts."""
        _, counts = self.counts()
        ends = [*self.starts[1:], self._size]
        return [
            (column.name, column.bins, counts[start:end])
            for column, start, end in zip(self.reference.columns, self.starts, ends, strict=True)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted(predictor.Predictor):
    """The loaded model, whose rows and answers are counted once it has answered."""

    counter: Counter

    def predict(self, data: signature.Input, params: Mapping[str, Any]) -> Any:
        answer = predictor.Predictor.predict(self, data, params)
        self.counter.count(data, answer)
        return answer


def watched(loaded: predictor.Predictor, counter: Counter | None) -> predictor.Predictor:
    """The same model, counted if there is a profile to count with."""
    if counter is None:
        return loaded
    return Counted(loaded.schema, loaded.call, loaded.example, loaded.by_row, counter=counter)


def _rows(data: signature.Input) -> int:
    return len(next(iter(data.values()), ())) if isinstance(data, dict) else len(data)


def _last(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array if array.ndim == 1 else array.reshape(len(array), -1)[:, -1]


def _argmax(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = array.reshape(len(array), -1).argmax(axis=1).astype(str).astype(object)
    return found


_READ: Mapping[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
    "value": lambda array: array.reshape(-1),
    "last": _last,
    "argmax": _argmax,
}
