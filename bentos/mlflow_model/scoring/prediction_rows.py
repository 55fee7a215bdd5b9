"""PURE. Logged requests as the columns of the prediction log: one row for each row of a request, in types that stay the same from file to file.

A feature has the type of its column in the signature; what Parquet has no type for (objects, arrays, bytes, tensors) is JSON. A prediction is a
number (float64), an array of numbers, or a text; whatever else a model answers is JSON too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from . import prediction_files as files
from . import signature, tracing

if TYPE_CHECKING:
    import pyarrow as pa

TENSOR = "inputs"  # the feature of a signature that is one tensor without a name
WRITE = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_NUMBERS = (int, float, np.number)
Columns = dict[str, "pa.Array"]  # of one file, in order


@dataclass(slots=True)
class Logged:
    """One request. `size`: bytes that it takes in memory. `request_id`, `traceparent`: as they came, if they did. `data`: see `kept`. Once the
    model has answered: `answer`, and `at_us`, microseconds since 1970."""

    request_id: str
    traceparent: bytes | None
    size: int
    rows: int
    data: list[Any]
    at_us: int = 0
    answer: Any = None


def kept(data: signature.Input, rows: int, *, tensors: bool) -> list[Any]:
    """A copy, since the model may change what it is given: all values of one column after another, or an array for each tensor. One
    list a request: a thousand small ones would keep Python's garbage collector busy."""
    arrays = data.values() if isinstance(data, dict) else (data,)
    if tensors:
        return [array.copy() for array in arrays]
    if rows == 1:
        return [array.item() for array in arrays]
    return [value for array in arrays for value in array.tolist()]


def schema_version(schema: signature.Signature) -> str:
    """Twelve hexadecimal digits that change when the signature does."""
    return hashlib.sha256(orjson.dumps(schema.raw, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]


def columns(schema: signature.Signature, model: str, version: str, logged: Sequence[Logged]) -> Columns:
    """Raises what pyarrow does, for what does not fit the signature."""
    import pyarrow as pa  # noqa: PLC0415 - a server that logs nothing loads none of it

    rows = np.array([each.rows for each in logged])
    total = int(rows.sum())
    whose = np.repeat(np.arange(len(rows)), rows)

    def repeated(values: Sequence[Any], kind: Any) -> pa.Array:
        return pa.array(values, kind).take(pa.array(whose))

    def same(text: str) -> pa.Array:
        return pa.array([text], pa.string()).take(pa.array(np.zeros(total, np.int64)))

    return {
        files.TIME: repeated([each.at_us for each in logged], pa.int64()).cast(pa.timestamp("us", "UTC")),
        files.REQUEST_ID: repeated([each.request_id or None for each in logged], pa.string()),
        files.TRACE_ID: repeated([tracing.trace_id(each.traceparent) or None for each in logged], pa.string()),
        files.ROW: pa.array(np.arange(total) - (np.cumsum(rows) - rows)[whose], pa.int32()),
        files.MODEL: same(model),
        files.VERSION: same(version),
        files.SCHEMA_VERSION: same(schema_version(schema)),
        **_features(schema, logged),
        files.PREDICTION: _predictions(logged, rows),
    }


def _features(schema: signature.Signature, logged: Sequence[Logged]) -> Columns:
    if schema.tensors:
        names = [tensor.name or TENSOR for tensor in schema.tensors]
        found = zip(names, zip(*(each.data for each in logged), strict=True), strict=True)
        return {files.FEATURE + name: _as_json([row for array in arrays for row in array]) for name, arrays in found}
    values = _transposed(logged, len(schema.columns))
    return {
        files.FEATURE + column.name: _feature(column.kind.name, of_it)
        for column, of_it in zip(schema.columns, values, strict=True)
    }


def _transposed(logged: Sequence[Logged], columns: int) -> Sequence[Sequence[Any]]:
    """By column, the values of all requests."""
    if all(each.rows == 1 for each in logged):
        return list(zip(*(each.data for each in logged), strict=True))
    found: list[list[Any]] = [[] for _ in range(columns)]
    for each in logged:
        for place, values in enumerate(found):
            values.extend(each.data[place * each.rows : (place + 1) * each.rows])
    return found


def _feature(kind: str, values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa  # noqa: PLC0415 - as above

    if kind in ("float", "double"):  # NaN stands for null, since JSON has none
        return pa.array(np.array(values, np.float64), kind, from_pandas=True, safe=False)
    if kind in ("integer", "long"):
        whole = np.array(values)
        if whole.dtype.kind == "f":  # nulls made floats of some, and those next to them would lose digits
            return pa.array([None if value != value else int(value) for value in values], pa.int64())  # noqa: PLR0124 - NaN differs from itself
        return pa.array(whole, pa.int64())
    if kind == "datetime":  # nanoseconds since 1970
        return pa.array(np.array(values, "datetime64[ns]").astype("datetime64[us]"), pa.timestamp("us", "UTC"))
    if kind in ("boolean", "string"):
        return pa.array(values, pa.bool_() if kind == "boolean" else pa.string())
    return _as_json(values)


def _as_json(values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa  # noqa: PLC0415 - as above

    return pa.array([None if value is None else _json(value) for value in values], pa.string())


def _json(value: Any) -> str:
    return orjson.dumps(value, default=_other, option=WRITE).decode()


def _other(value: Any) -> Any:
    import base64  # noqa: PLC0415 - for the few that have bytes

    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (np.ndarray, np.datetime64)):
        return value.tolist() if isinstance(value, np.ndarray) else str(value)
    raise TypeError(f"{type(value).__name__} has no JSON")


def _predictions(logged: Sequence[Logged], rows: np.ndarray[Any, Any]) -> pa.Array:
    """Of one type for all rows: numbers, else arrays of numbers, else texts."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    answers = [each.answer for each in logged]
    whole = _joined(answers, rows)
    if whole is None:
        parts = [_by_row(each.answer, each.rows) for each in logged]
        whole = _joined(parts, rows)
        if whole is None:
            values = [value for part in parts for value in (part.tolist() if isinstance(part, np.ndarray) else part)]
            return pa.array([value if value is None or type(value) is str else _json(value) for value in values], pa.string())
    flat = whole.astype(np.float64, copy=False).reshape(len(whole), -1)
    numbers = pa.array(flat.ravel(), from_pandas=True)
    width = flat.shape[1]
    return numbers if width == 1 else pa.ListArray.from_arrays(np.arange(0, len(numbers) + 1, width, dtype=np.int32), numbers)


def _joined(parts: Sequence[Any], rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """None: these are not all arrays of as many rows, of the same shape. Numbers only."""
    if {type(part) for part in parts} != {np.ndarray} or len({part.shape[1:] for part in parts}) > 1:
        return None
    if not parts[0].ndim or any(len(part) != count for part, count in zip(parts, rows, strict=True)):
        return None
    whole = np.concatenate(parts)
    return whole if whole.dtype.kind in "iufb" else None


def _by_row(answer: Any, rows: int) -> np.ndarray[Any, Any] | list[Any]:
    """One value for each row: float64 of one dimension, of two, or anything at all; nulls if the answer is not one per row."""
    if isinstance(answer, Mapping) and all(_length(each) == rows for each in answer.values()):
        return [{name: each[row] for name, each in answer.items()} for row in range(rows)]
    if _length(answer) != rows:
        return [answer] if rows == 1 else [None] * rows
    if isinstance(answer, list):
        if all(value is None or isinstance(value, _NUMBERS) for value in answer):  # a bool is an int
            return np.array([np.nan if value is None else value for value in answer], np.float64)
        if not all(isinstance(value, list) and value and all(isinstance(x, _NUMBERS) for x in value) for value in answer):
            return answer
        if len({len(value) for value in answer}) > 1:
            return answer
    array = np.asarray(answer, np.float64)
    flat = array.reshape(rows, -1)
    return flat[:, 0] if flat.shape[1] == 1 else flat


def _length(answer: Any) -> int:
    return len(answer) if isinstance(answer, list) or (isinstance(answer, np.ndarray) and answer.ndim) else -1
