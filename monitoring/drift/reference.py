"""PURE. Reads a version's reference profile (format 2, written by registry.profile) and lays its columns out as arrays.

Counts of all columns lie one after another in one flat array, the predictions last, as the bento sends them; `Reference.padded` makes
a table of them, one row per column. The document comes from a replica, so nothing in it is believed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

FORMAT = 2
MOST_BYTES = 8 * 1024 * 1024
MOST_BLOCKS, MOST_PLACES = 4096, 2000  # of one column

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Unreadable(ValueError):
    """No reference profile, or one of another format; the message says why."""


class Kind(StrEnum):
    NUMERIC = "numeric"
    CATEGORICAL = "categorical"


@dataclass(frozen=True, slots=True)
class Column:
    """edges: of a numeric column, the outermost ones begin the far places. labels: what its places are called. importance: share of
    all features', NaN if unknown. clock: why it counts as following the time; None: it does not. surprise: share of far (unseen)
    values that the reference's second half had, seen from its first."""

    name: str
    kind: Kind
    edges: tuple[float, ...]
    labels: tuple[str, ...]
    importance: float
    clock: str | None
    surprise: float
    mean: float
    std: float

    @property
    def numeric(self) -> bool:
        return self.kind is Kind.NUMERIC

    def positions(self) -> Floats:
        """Of the places but the last (null), in the column's own unit: the middles of bins; of an open place where it begins, so that what
        is made of it is the least that can be."""
        if not self.numeric:
            return np.zeros(len(self.labels) - 1)
        edges = np.array(self.edges)
        return np.concatenate([edges[:2], (edges[1:-2] + edges[2:-1]) / 2.0, edges[-2:]])


@dataclass(frozen=True)
class Reference:
    """blocks: counts per contiguous block of the reference rows in time order, shape (blocks, places of all columns)."""

    columns: tuple[Column, ...]
    blocks: Ints
    left_out: Mapping[str, str]
    fingerprint: str

    @property
    def rows(self) -> int:
        return int(self.blocks[:, self.starts[-1] :].sum())

    @property
    def size(self) -> int:
        """Places of all columns."""
        return int(self.blocks.shape[1])

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        return tuple(len(column.labels) for column in self.columns)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        return tuple(sum(self.sizes[:index]) for index in range(len(self.sizes)))

    @cached_property
    def block_rows(self) -> float:
        """Of one block, on average."""
        return self.rows / len(self.blocks)

    @cached_property
    def total(self) -> Ints:
        found: Ints = self.blocks.sum(axis=0)
        return found

    @cached_property
    def _places(self) -> npt.NDArray[np.intp]:
        places = np.full((len(self.columns), max(self.sizes)), self.size, dtype=np.intp)
        for row, (start, size) in enumerate(zip(self.starts, self.sizes, strict=True)):
            places[row, : size - 1] = np.arange(start, start + size - 1)
            places[row, -1] = start + size - 1
        return places

    def padded(self, counts: npt.NDArray[Any]) -> Floats:
        """Flat counts, shape (..., size) -> (..., columns, places): zeros between a column's places and its nulls, which are last."""
        wide = np.concatenate([counts, np.zeros((*counts.shape[:-1], 1))], axis=-1)
        found: Floats = wide[..., self._places]
        return found

    @cached_property
    def positions(self) -> Floats:
        """Of places but the nulls in standard deviations, shape (columns, places - 1); zeros where there is no order."""
        found = np.zeros((len(self.columns), max(self.sizes) - 1))
        for row, column in enumerate(self.columns):
            own = column.positions() / column.std if column.numeric else column.positions()
            found[row, : len(own)] = own
            found[row, len(own) :] = own[-1]
        return found

    @cached_property
    def ordered(self) -> npt.NDArray[np.bool_]:
        return np.array([column.numeric for column in self.columns])

    @cached_property
    def closed(self) -> Floats:
        """1 for places that are one value or one bin, 0 for open tails, for other and for unseen values; shape (columns, places - 1)."""
        found = np.zeros((len(self.columns), max(self.sizes) - 1))
        for row, column in enumerate(self.columns):
            found[row, 2 if column.numeric else 0 : len(column.labels) - 3] = 1.0
        return found

    @cached_property
    def importance(self) -> Floats:
        """Of the columns; 0 for predictions, equal shares if none is known."""
        known = np.array([column.importance for column in self.columns])
        if np.isnan(known[:-1]).all():
            known = np.full(len(known), 1.0 / max(1, len(known) - 1))
        known = np.nan_to_num(known, nan=0.0)
        known[-1] = 0.0
        found: Floats = known
        return found


def read(raw: bytes) -> Reference:
    """Raises Unreadable."""
    if len(raw) > MOST_BYTES:
        raise Unreadable(f"the profile is larger than {MOST_BYTES} bytes")
    try:
        document = json.loads(raw)
        form = document.get("format")
        entries = [*document["features"], document["predictions"]] if form == FORMAT else []
        columns = tuple(_column(entry) for entry in entries)
        blocks = [_blocks(entry, len(column.labels)) for entry, column in zip(entries, columns, strict=True)]
        left_out = {str(name): str(why) for name, why in document.get("left_out", {}).items()}
    except Unreadable:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error, zlib.error) as error:
        raise Unreadable(f"it is no reference profile: {type(error).__name__}: {error}") from error
    if form != FORMAT:
        raise Unreadable(f"the profile's format is {form!r}, and this slipway reads {FORMAT}; publish the version anew")
    _check([column.name for column in columns], blocks)
    return Reference(columns, np.concatenate(blocks, axis=1), left_out, hashlib.sha256(raw).hexdigest()[:16])


def _check(names: list[str], blocks: list[Ints]) -> None:
    if len(set(names[:-1])) < len(names) - 1:
        raise Unreadable("two features have the same name")
    rows = [each.sum(axis=1) for each in blocks]
    if any(not np.array_equal(each, rows[-1]) for each in rows) or rows[-1].min() < 1:
        raise Unreadable("the blocks of its columns do not hold the same rows")


def _column(entry: Mapping[str, Any]) -> Column:
    name, kind = str(entry["name"]), Kind(entry["kind"])
    importance = entry.get("importance")
    weight = math.nan if importance is None else float(importance)
    surprise = float(entry["surprise"])
    if not 0.0 <= surprise <= 1.0 or weight < 0.0 or math.isinf(weight):
        raise Unreadable(f"importance and surprise of {name} must be shares")
    clock = None if entry.get("clock") is None else str(entry["clock"])
    if kind is Kind.CATEGORICAL:
        values = [str(value) for value in entry["values"]]
        labels = (*values, "<other>", "<unseen>", "<null>")
        return Column(name, kind, (), labels, weight, clock, surprise, math.nan, 1.0)
    edges = tuple(float(edge) for edge in entry["edges"])
    if len(edges) < 4 or list(edges) != sorted(set(edges)) or not all(map(math.isfinite, edges)):
        raise Unreadable(f"the edges of {name} must be at least four finite numbers that ascend")
    labels = ("<far below>", "<below>", *map(repr, edges[1:-2]), "<above>", "<far above>", "<null>")
    std, mean = entry["std"], entry["mean"]
    width = edges[-2] - edges[1]
    spread = float(std) if std and math.isfinite(std) else width  # a constant has no deviation, but a bin
    return Column(name, kind, edges, labels, weight, clock, surprise, math.nan if mean is None else float(mean), spread or 1.0)


def _blocks(entry: Mapping[str, Any], places: int) -> Ints:
    blocks, size = (int(number) for number in entry["blocks"]["shape"])
    if size != places or not 1 <= blocks <= MOST_BLOCKS or places > MOST_PLACES:
        raise Unreadable(f"the blocks of {entry['name']} have the shape {(blocks, size)}, its places are {places}")
    wanted = blocks * size * 4
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(base64.b64decode(entry["blocks"]["data"], validate=True), wanted + 1)
    if len(data) != wanted:
        raise Unreadable(f"the blocks of {entry['name']} are {len(data)} bytes, not {wanted}")
    return np.frombuffer(data, dtype="<u4").reshape(blocks, size).astype(np.int64)
