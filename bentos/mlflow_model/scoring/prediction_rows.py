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
from . import signature

if TYPE_CHECKING:
    import pyarrow as pa

TENSOR = "inputs"  # the feature of a signature that is one tensor without a name
WRITE = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_NUMBERS = (int, float, np.number)
Columns = dict[str, "pa.Array"]  # of one file, in order
_TYPES = {
    "boolean": "bool",
    "string": "string",
    "integer": "int64",
    "long": "int64",
    "float": "float32",
    "double": "float64",
}


@dataclass(frozen=True, slots=True)
class Logged:
    """One request that the model has answered. `at_us`: microseconds since 1970. "" for an id: none was given. `size`: bytes that it takes in memory."""

    at_us: int
    request_id: str
    trace_id: str
    size: int
    rows: int
    data: signature.Input
    answer: Any


def schema_version(schema: signature.Signature) -> str:
    """Twelve hexadecimal digits that change when the signature does."""
    return hashlib.sha256(orjson.dumps(schema.raw, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]


def columns(schema: signature.Signature, model: str, version: str, logged: Sequence[Logged]) -> Columns:
    """Raises what pyarrow does, for what does not fit the signature."""
    import pyarrow as pa  # noqa: PLC0415 - a server that logs nothing loads none of it

    rows = np.array([each.rows for each in logged])
    total = int(rows.sum())

    def repeated(values: Sequence[Any], kind: Any) -> pa.Array:
        return pa.array(values, kind).take(pa.array(np.repeat(np.arange(len(rows)), rows)))

    def same(text: str) -> pa.Array:
        return pa.array([text], pa.string()).take(pa.array(np.zeros(total, np.int64)))

    return {
        files.TIME: repeated([each.at_us for each in logged], pa.int64()).cast(pa.timestamp("us", "UTC")),
        files.REQUEST_ID: repeated([each.request_id or None for each in logged], pa.string()),
        files.TRACE_ID: repeated([each.trace_id or None for each in logged], pa.string()),
        files.ROW: pa.array(np.concatenate([np.arange(each.rows) for each in logged]), pa.int32()),
        files.MODEL: same(model),
        files.VERSION: same(version),
        files.SCHEMA_VERSION: same(schema_version(schema)),
        **_features(schema, logged),
        files.PREDICTION: _predictions(logged),
    }


def _features(schema: signature.Signature, logged: Sequence[Logged]) -> Columns:
    if not schema.columns:
        named = {tensor.name or TENSOR: tensor.name for tensor in schema.tensors}
        return {
            files.FEATURE + shown: _as_json([row for each in logged for row in _tensor(each.data, name)])
            for shown, name in named.items()
        }
    found = {}
    for column in schema.columns:
        parts = [each.data[column.name] for each in logged]
        found[files.FEATURE + column.name] = _feature(column.kind.name, parts)
    return found


def _feature(kind: str, parts: Sequence[np.ndarray[Any, Any]]) -> pa.Array:
    import pyarrow as pa  # noqa: PLC0415 - as above

    if kind == "datetime":
        return pa.array(np.concatenate(parts).astype("datetime64[us]"), pa.timestamp("us", "UTC"))
    if kind not in _TYPES:
        return _as_json([value for part in parts for value in part])
    wanted = pa.type_for_alias(_TYPES[kind])
    whole = np.concatenate(parts)
    # nulls make integers floats, and truth values objects; NaN stands for null, since JSON has none
    return pa.array(whole, wanted, from_pandas=True, safe=False)


def _tensor(data: signature.Input, name: str | None) -> Any:
    return data[name] if isinstance(data, dict) else data  # type: ignore[index]  # tensors in a dict have names


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


def _predictions(logged: Sequence[Logged]) -> pa.Array:
    """Of one type for all rows: numbers, else arrays of numbers, else texts."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    parts = [_by_row(each.answer, each.rows) for each in logged]
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) == len(parts) and len({part.ndim for part in arrays}) == 1:
        if arrays[0].ndim == 1:
            return pa.array(np.concatenate(arrays), pa.float64(), from_pandas=True)
        return pa.array([row for part in arrays for row in part], pa.list_(pa.float64()))
    rows = [value for part in parts for value in (part.tolist() if isinstance(part, np.ndarray) else part)]
    return pa.array([value if value is None or type(value) is str else _json(value) for value in rows], pa.string())


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
