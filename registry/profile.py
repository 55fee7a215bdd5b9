"""The reference profile of a version: how its features and predictions were distributed when it was trained.

PURE numpy. Made by `publish`, stored as profile.json with the version, read by whoever counts live traffic into the same
fixed bins: counters add up over replicas and windows, and every distance (PSI, Jensen-Shannon, ...) is a sum over bins.

Beside the totals it keeps the counts of contiguous blocks of the reference rows (which come in time order): thresholds
calibrated on shuffled rows fire on every window of real, autocorrelated traffic; blocks are what to calibrate on.

Counts of a numeric column have one place per bin between the edges, before them the underflow, after them the overflow, and
last the nulls. Counts of a categorical column have one place per known value, then all other values, and last the nulls.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FORMAT = 1
Counts = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Numeric:
    """`edges` ascend; a value x lies in the bin with edges[i-1] <= x < edges[i]. The moments are of the finite values."""

    name: str
    edges: tuple[float, ...]
    counts: Counts
    blocks: tuple[Counts, ...]
    minimum: float | None
    maximum: float | None
    mean: float | None
    std: float | None

    def count(self, values: npt.ArrayLike) -> Counts:
        """Counts of these values in the profile's places."""
        return _count_numeric(_numbers(values), np.asarray(self.edges))


@dataclass(frozen=True, slots=True)
class Categorical:
    """`values` are the most frequent ones, most frequent first."""

    name: str
    values: tuple[str, ...]
    counts: Counts
    blocks: tuple[Counts, ...]

    def count(self, values: npt.ArrayLike) -> Counts:
        return _count_categorical(_texts(values), self.values)


@dataclass(frozen=True, slots=True)
class Profile:
    rows: int
    features: tuple[Numeric | Categorical, ...]
    predictions: Numeric | Categorical

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "rows": self.rows,
            "features": [_column_json(column) for column in self.features],
            "predictions": _column_json(self.predictions),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Profile:
        """Raises ValueError if this is not a profile of a format known here."""
        if document.get("format") != FORMAT:
            raise ValueError(f"profile format {document.get('format')!r} is not {FORMAT}, which this slipway reads")
        return cls(
            rows=int(document["rows"]),
            features=tuple(_column(column) for column in document["features"]),
            predictions=_column(document["predictions"]),
        )


def build(
    columns: Mapping[str, npt.ArrayLike], predictions: npt.ArrayLike, *, bins: int = 20, top: int = 50, blocks: int = 20
) -> Profile:
    """Profile of rows in time order. Scores within [0, 1] get equal bins, everything else numeric gets quantile bins."""
    if not 2 <= bins <= 200 or not 1 <= top <= 1000 or blocks < 1:
        raise ValueError("bins must be 2 to 200, top 1 to 1000 and blocks at least 1")
    rows = len(np.asarray(predictions))
    for name, values in columns.items():
        if len(np.asarray(values)) != rows:
            raise ValueError(f"column {name} has {len(np.asarray(values))} rows, the predictions have {rows}")
    features = tuple(_profile(name, values, bins, top, blocks, unit=False) for name, values in columns.items())
    return Profile(rows, features, _profile("prediction", predictions, bins, top, blocks, unit=True))


def _profile(name: str, values: npt.ArrayLike, bins: int, top: int, blocks: int, *, unit: bool) -> Numeric | Categorical:
    if _is_numeric(values):
        numbers = _numbers(values)
        finite = numbers[np.isfinite(numbers)]
        if unit and finite.size and finite.min() >= 0.0 and finite.max() <= 1.0:
            edges = np.linspace(0.0, 1.0, bins + 1)
            edges[-1] = np.nextafter(1.0, 2.0)  # a score of exactly 1 is no overflow
        else:
            edges = _edges(finite, bins)
        mean, std = _moments(finite)
        return Numeric(
            name=name,
            edges=tuple(edges.tolist()),
            counts=_count_numeric(numbers, edges),
            blocks=tuple(_count_numeric(block, edges) for block in np.array_split(numbers, blocks)),
            minimum=float(finite.min()) if finite.size else None,
            maximum=float(finite.max()) if finite.size else None,
            mean=mean,
            std=std,
        )
    texts = _texts(values)
    known, counts = np.unique(texts[texts != None].astype(str), return_counts=True)  # noqa: E711 - elementwise
    order = np.lexsort((known, -counts))[:top]
    kept = tuple(known[order].tolist())
    return Categorical(
        name=name,
        values=kept,
        counts=_count_categorical(texts, kept),
        blocks=tuple(_count_categorical(block, kept) for block in np.array_split(texts, blocks)),
    )


def _moments(finite: npt.NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Mean and standard deviation; None where they do not exist or are beyond what a float holds."""
    if not finite.size:
        return None, None
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(finite.mean()), float(finite.std())
    return (mean if math.isfinite(mean) else None), (std if math.isfinite(std) else None)


def _edges(finite: npt.NDArray[np.float64], bins: int) -> npt.NDArray[np.float64]:
    """Few distinct values get a bin each, many get bins of equal counts. Ties never make an empty bin."""
    distinct = np.unique(finite)
    if distinct.size == 0:
        return np.array([0.0])
    with np.errstate(over="ignore"):
        beyond = min(np.nextafter(distinct[-1], np.inf), np.finfo(np.float64).max)  # JSON knows no infinity
    if distinct.size <= bins:
        return np.unique(np.append(distinct, beyond))
    inner = np.quantile(finite, np.linspace(0.0, 1.0, bins + 1)[:-1], method="inverted_cdf")
    return np.unique(np.append(inner, beyond))


def _count_numeric(numbers: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> Counts:
    nulls = np.isnan(numbers)
    places = np.searchsorted(edges, numbers[~nulls], side="right")
    return (*np.bincount(places, minlength=len(edges) + 1).tolist(), int(nulls.sum()))


def _count_categorical(texts: npt.NDArray[np.object_], known: Sequence[str]) -> Counts:
    place = {value: index for index, value in enumerate(known)}
    other, null = len(known), len(known) + 1
    places = [null if text is None else place.get(text, other) for text in texts]
    return tuple(np.bincount(np.array(places, dtype=np.intp), minlength=len(known) + 2).tolist())


def _is_numeric(values: npt.ArrayLike) -> bool:
    """Numbers and booleans, also with None among them."""
    array = np.asarray(values)
    if array.dtype.kind != "O":
        return array.dtype.kind in "biuf"
    present = [value for value in array if value is not None]
    return bool(present) and all(isinstance(value, int | float | np.number) for value in present)


def _numbers(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64).reshape(-1)


def _texts(values: npt.ArrayLike) -> npt.NDArray[np.object_]:
    """Texts, with None for every kind of null."""
    array = np.asarray(values, dtype=object).reshape(-1)
    texts = [None if value is None or value != value else str(value) for value in array]  # noqa: PLR0124 - NaN differs from itself
    found = np.empty(len(texts), dtype=object)
    found[:] = texts
    return found


def _column_json(column: Numeric | Categorical) -> dict[str, Any]:
    return {"kind": "numeric" if isinstance(column, Numeric) else "categorical", **asdict(column)}


def _column(document: Mapping[str, Any]) -> Numeric | Categorical:
    fields = {key: value for key, value in document.items() if key != "kind"}
    fields["counts"] = tuple(fields["counts"])
    fields["blocks"] = tuple(tuple(block) for block in fields["blocks"])
    if document["kind"] == "numeric":
        return Numeric(**{**fields, "edges": tuple(fields["edges"])})
    return Categorical(**{**fields, "values": tuple(fields["values"])})
