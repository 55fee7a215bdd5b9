"""The reference profile of a version: how its features and its answers were distributed when it was trained.

PURE numpy. Made by `publish`, stored as profile.json with the version. The bento counts live rows into the same fixed places, and
`monitoring.drift.reference` reads the document; both import nothing of this room, tests hold the three together.

Counts are kept per contiguous block of the reference rows (which come in time order): thresholds calibrated on shuffled rows fire on
every window of real, autocorrelated traffic; blocks are what to calibrate on, and no row leaves the training.

Places of a numeric column: far below, below, one per bin, above, far above, null; "far" is beyond the range of the reference by more
than FAR_WIDTHS times its width. Places of a categorical column: one per frequent value, other values of the reference, unseen ones, null.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FORMAT = 2
BLOCK_ROWS = 64  # at least, where there are so many rows
MAX_BLOCKS = 256
MAX_RARE = 1000  # values beyond the frequent ones that are still known by name
VALUE_CHARS = 100  # of a text; longer ones are told apart by their beginning
LARGEST = 1e300  # numbers beyond it have no bins of their own
FAR_WIDTHS = 10.0  # a thousandfold value lies beyond, a storm in a dry season does not
GROWS = 0.95  # rank correlation with the order of the rows from which a column counts as a clock
# Fixed for all versions, so that two of them can be laid side by side; narrow where probabilities of rare events lie.
SCORE_EDGES = (
    *(0.0, 0.001, 0.002, 0.005, 0.01, 0.02),
    *(round(0.05 * step, 2) for step in range(1, 20)),
    *(0.98, 0.99, 0.995, 0.998, 0.999),
)

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.object_]
Counts = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Numeric:
    """`edges` ascend; a value x lies in place i with edges[i-1] <= x < edges[i]. The outermost two edges begin the far places.

    blocks: shape (blocks, len(edges) + 2). surprise: share of far values in the second half of the rows, seen from the first."""

    name: str
    edges: tuple[float, ...]
    blocks: Counts
    mean: float | None
    std: float | None
    surprise: float

    def places(self, values: npt.ArrayLike) -> npt.NDArray[np.intp]:
        return _places(_numbers(values), np.array(self.edges))

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": "numeric",
            "edges": self.edges,
            "mean": self.mean,
            "std": self.std,
            "surprise": self.surprise,
            "blocks": _packed(self.blocks),
        }


@dataclass(frozen=True, slots=True)
class Categorical:
    """`values`: the most frequent ones, most frequent first. `rare`: the others; None if they were too many to be told from unseen
    ones. blocks: shape (blocks, len(values) + 3). surprise: share of unseen values in the second half, seen from the first."""

    name: str
    values: tuple[str, ...]
    rare: tuple[str, ...] | None
    blocks: Counts
    surprise: float

    def places(self, values: npt.ArrayLike) -> npt.NDArray[np.intp]:
        return _category_places(_texts(values), self.values, self.rare)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": "categorical",
            "values": self.values,
            "rare": self.rare,
            "surprise": self.surprise,
            "blocks": _packed(self.blocks),
        }


@dataclass(frozen=True, slots=True)
class Profile:
    """importance: of each feature, from 0, in sum 1. clocks: features that follow the time, each with how that is known. left_out:
    columns that are not counted, each with why. reads: how an answer becomes a prediction, see `predictions`."""

    rows: int
    features: tuple[Numeric | Categorical, ...]
    predictions: Numeric | Categorical
    reads: str
    importance: Mapping[str, float]
    clocks: Mapping[str, str]
    left_out: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "rows": self.rows,
            "features": [
                {**column.to_json(), "importance": self.importance.get(column.name), "clock": self.clocks.get(column.name)}
                for column in self.features
            ],
            "predictions": {**self.predictions.to_json(), "reads": self.reads},
            "left_out": dict(self.left_out),
        }


def build(
    columns: Mapping[str, npt.ArrayLike],
    answers: Any,
    *,
    importance: Mapping[str, float] | None = None,
    clocks: Collection[str] = (),
    bins: int = 20,
    top: int = 50,
) -> Profile:
    """Profile of rows in time order. `answers`: the model's to these rows. `clocks`: columns that follow the time of day, the week
    or the year, and are no drift when they do. Raises ValueError for columns of different lengths."""
    if not 2 <= bins <= 200 or not 1 <= top <= 1000:
        raise ValueError("bins must be 2 to 200 and top 1 to 1000")
    reads, given = predictions(answers)
    rows = len(given)
    for name, values in columns.items():
        if len(np.asarray(values)) != rows:
            raise ValueError(f"column {name} has {len(np.asarray(values))} rows, the predictions have {rows}")
    if unknown := sorted(set(clocks) - set(columns)):
        raise ValueError(f"clocks names unknown columns: {unknown}")
    left_out = {name: why for name, values in columns.items() if (why := _uncountable(np.asarray(values)))}
    counted = {name: np.asarray(values) for name, values in columns.items() if name not in left_out}
    features = tuple(_profile(name, values, bins, top) for name, values in counted.items())
    found = {name: why for name, values in counted.items() if (why := _clock(values))}
    given_clocks = {name: "declared at training" for name in clocks if name in counted}
    return Profile(
        rows,
        features,
        _profile("prediction", given, bins, top, score=True),
        reads,
        _normal(importance or {}),
        {**found, **given_clocks},
        left_out,
    )


def predictions(answers: Any) -> tuple[str, npt.NDArray[Any]]:
    """How one prediction per row is read from a model's answers, and these predictions.

    "value": as it is. "last": the last of two columns (the probability of the positive class). "argmax": the number of the likeliest
    of several classes, as text."""
    array = np.asarray(answers)
    if array.ndim <= 1:
        return "value", array.reshape(-1)
    flat = array.reshape(len(array), -1)
    if flat.shape[1] <= 2:
        return "last", flat[:, -1]
    return "argmax", flat.argmax(axis=1).astype(str).astype(object)


def _normal(importance: Mapping[str, float]) -> dict[str, float]:
    total = sum(max(0.0, value) for value in importance.values())
    return {name: round(max(0.0, value) / total, 6) for name, value in importance.items()} if total > 0 else {}


def _profile(name: str, values: npt.NDArray[Any], bins: int, top: int, *, score: bool = False) -> Numeric | Categorical:
    blocks = max(1, min(MAX_BLOCKS, len(values) // BLOCK_ROWS))
    half = len(values) // 2
    if _is_numeric(values):
        numbers = _numbers(values)
        finite = numbers[np.isfinite(numbers)]
        unit = score and finite.size > 0 and finite.min() >= 0.0 and finite.max() <= 1.0
        edges = _far(np.array([*SCORE_EDGES, np.nextafter(1.0, 2.0)])) if unit else _edges(finite, bins)
        mean, std = _moments(finite)
        earlier = numbers[:half]
        limits = _edges(earlier[np.isfinite(earlier)], 2)
        later = numbers[half:][~np.isnan(numbers[half:])]
        surprise = float(((later < limits[0]) | (later >= limits[-1])).mean()) if later.size and half else 0.0
        counts = _counted(_places(numbers, edges), blocks, len(edges) + 2)
        return Numeric(name, tuple(edges.tolist()), counts, mean, std, 0.0 if unit else surprise)
    texts = _texts(values)
    known, many = np.unique(texts[texts != None].astype(str), return_counts=True)  # noqa: E711 - elementwise
    order = np.lexsort((known, -many))
    kept, others = tuple(known[order][:top].tolist()), tuple(known[order][top:].tolist())
    rare = others if len(others) <= MAX_RARE else None
    seen = set(texts[:half].tolist())
    fresh = [text is not None and text not in seen for text in texts[half:]]
    counts = _counted(_category_places(texts, kept, rare), blocks, len(kept) + 3)
    return Categorical(name, kept, rare, counts, float(np.mean(fresh)) if fresh and half else 0.0)


def _uncountable(values: npt.NDArray[Any]) -> str:
    """Why a column has no places; empty: it has."""
    if values.ndim != 1:
        return "its values are no single numbers or texts"
    if values.dtype.kind in "biufM" or _is_numeric(values):
        return ""
    present = [value for value in values if value is not None and value == value]  # noqa: PLR0124 - NaN differs from itself
    if not all(isinstance(value, str | bool | int | float | np.generic) for value in present):
        return "its values are no single numbers or texts"
    many = len({str(value) for value in present})
    return "nearly every row has its own value" if many > MAX_RARE and many > len(present) / 2 else ""


def _clock(values: npt.NDArray[Any]) -> str:
    """How it is known that a column follows the time; empty: it is not."""
    if values.dtype.kind == "M":
        return "it holds times"
    if not _is_numeric(values) or len(values) < BLOCK_ROWS:
        return ""
    numbers = _numbers(values)
    finite = numbers[np.isfinite(numbers)]
    if np.unique(finite).size < BLOCK_ROWS:
        return ""
    ranks = finite.argsort(kind="stable").argsort(kind="stable")
    with np.errstate(invalid="ignore"):
        together = float(np.corrcoef(ranks, np.arange(finite.size))[0, 1])
    return "it grows or falls with the rows, as times and running numbers do" if abs(together) >= GROWS else ""


def _moments(finite: Floats) -> tuple[float | None, float | None]:
    """Mean and standard deviation; None where they do not exist or are beyond what a float holds."""
    if not finite.size:
        return None, None
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(finite.mean()), float(finite.std())
    return (mean if math.isfinite(mean) else None), (std if math.isfinite(std) else None)


def _edges(finite: Floats, bins: int) -> Floats:
    """Few distinct values get a bin each, many get bins of equal counts; the far edges around them. Ties never make an empty bin."""
    within = np.clip(finite, -LARGEST, LARGEST)
    distinct = np.unique(within)
    if distinct.size == 0:  # nothing but nulls: every value is far from what was known
        distinct = np.array([0.0])
    beyond = np.nextafter(distinct[-1], np.inf)
    if distinct.size <= bins:
        return _far(np.append(distinct, beyond))
    inner = np.quantile(within, np.linspace(0.0, 1.0, bins + 1)[:-1], method="inverted_cdf")
    return _far(np.unique(np.append(inner, beyond)))


def _far(edges: Floats) -> Floats:
    """With one more edge on either side, FAR_WIDTHS away. A constant counts as wide as it is large."""
    width = float(edges[-1] - edges[0])
    if not width > 1e-9 * abs(float(edges[-1])):
        width = max(1.0, abs(float(edges[-1])))
    return np.concatenate([[edges[0] - FAR_WIDTHS * width], edges, [edges[-1] + FAR_WIDTHS * width]])


def _places(numbers: Floats, edges: Floats) -> npt.NDArray[np.intp]:
    """NaN sorts behind everything, so one more edge gives nulls their place."""
    return np.searchsorted(np.append(edges, np.nan), numbers, side="right")


def _category_places(texts: Texts, known: Sequence[str], rare: Sequence[str] | None) -> npt.NDArray[np.intp]:
    other, unseen, null = len(known), len(known) + 1, len(known) + 2
    place: dict[str | None, int] = dict.fromkeys(rare or (), other)
    place |= {value: index for index, value in enumerate(known)}
    place[None] = null
    missing = other if rare is None else unseen
    return np.array([place.get(text, missing) for text in texts], dtype=np.intp)


def _counted(places: npt.NDArray[np.intp], blocks: int, many: int) -> Counts:
    return np.array([np.bincount(block, minlength=many) for block in np.array_split(places, blocks)], dtype=np.uint32)


def _packed(counts: Counts) -> dict[str, Any]:
    """Little-endian 32-bit counts, block by block, zlib, base64: a fifth of what lists of numbers would take."""
    data = base64.b64encode(zlib.compress(counts.astype("<u4").tobytes(), 9)).decode()
    return {"shape": counts.shape, "data": data}


def _is_numeric(values: npt.NDArray[Any]) -> bool:
    """Numbers, booleans and times, also with None among them."""
    if values.dtype.kind != "O":
        return values.dtype.kind in "biufM"
    present = [value for value in values if value is not None]
    return bool(present) and all(isinstance(value, int | float | np.number) for value in present)


def _numbers(values: npt.ArrayLike) -> Floats:
    """Times become seconds since 1970."""
    array = np.asarray(values)
    if array.dtype.kind == "M":
        missing = np.isnat(array)
        seconds = array.astype("datetime64[ns]").astype(np.int64) / 1e9
        return np.where(missing, np.nan, seconds).reshape(-1)
    return np.asarray(array, dtype=np.float64).reshape(-1)


def _texts(values: npt.ArrayLike) -> Texts:
    """Texts, with None for every kind of null."""
    array = np.asarray(values, dtype=object).reshape(-1)
    texts = [None if value is None or value != value else str(value)[:VALUE_CHARS] for value in array]  # noqa: PLR0124 - as above
    found = np.empty(len(texts), dtype=object)
    found[:] = texts
    return found
