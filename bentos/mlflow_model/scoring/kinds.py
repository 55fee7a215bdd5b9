"""The data types of MLflow signatures, and how a list of JSON values becomes one NumPy column of such a type.

Called by `signature.py` for every column of every request, so the good case runs at C speed; only when it fails are the values
looked at one by one to name the first bad row. Must never let pandas or NumPy guess a type.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

INTEGERS = {"integer": (np.int32, -(2**31), 2**31 - 1), "long": (np.int64, -(2**63), 2**63 - 1)}
FLOAT_MAX = float(np.finfo(np.float32).max)
# pandas keeps times as nanoseconds in 64 bits
TIME_MIN, TIME_MAX = datetime(1677, 9, 22, tzinfo=UTC), datetime(2262, 4, 11, tzinfo=UTC)


class BadValue(ValueError):
    """A value is not of the type; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One type. `convert` takes one non-null JSON value, returns what the model gets, or raises BadValue."""

    name: str
    convert: Callable[[Any], Any]
    quick: frozenset[type]  # if all values are of these types, NumPy may convert them in one go
    dtype: Any
    null: Any  # what stands for null
    null_dtype: Any  # the dtype of a column that holds a null

    def column(self, values: Sequence[Any]) -> np.ndarray[Any, Any]:
        """All values as one column; nulls allowed. Raises BadValue, OverflowError or ValueError without saying where."""
        types = set(map(type, values))
        if types <= self.quick:
            return self._range_checked(np.array(values, dtype=self.dtype))
        if type(None) in types:
            filled = [self.null if value is None else self.convert(value) for value in values]
            return _object_safe(filled, self.null_dtype)
        return _object_safe([self.convert(value) for value in values], self.dtype)

    def _range_checked(self, column: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if self.dtype == np.float32 and not np.isfinite(column).all():
            raise BadValue("out of range")
        return column


def _object_safe(values: list[Any], dtype: Any) -> np.ndarray[Any, Any]:
    if dtype is not object:
        return np.array(values, dtype=dtype)
    column = np.empty(len(values), dtype=object)  # np.array would make nested lists a matrix
    column[:] = values
    return column


def _named(value: Any) -> str:
    words = {bool: "a boolean", str: "a string", int: "an integer", float: "a number", list: "an array", dict: "an object"}
    text = repr(value)
    return f"{words.get(type(value), 'null')} ({text if len(text) <= 40 else text[:37] + '...'})"


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise BadValue(f"expected true or false, got {_named(value)}")
    return value


def _string(value: Any) -> str:
    if type(value) is not str:
        raise BadValue(f"expected a string, got {_named(value)}")
    return value


def _integer(name: str) -> Callable[[Any], int]:
    _, low, high = INTEGERS[name]

    def convert(value: Any) -> int:
        if type(value) is float and value.is_integer():  # clients that keep integers in float columns send 3.0
            value = int(value)
        if type(value) is not int:
            raise BadValue(f"expected an integer, got {_named(value)}")
        if not low <= value <= high:
            raise BadValue(f"{_named(value)} does not fit {name} ({low} to {high})")
        return value

    return convert


def _number(name: str) -> Callable[[Any], float]:
    def convert(value: Any) -> float:
        if type(value) not in (int, float):
            raise BadValue(f"expected a number, got {_named(value)}")
        if name == "float" and abs(value) > FLOAT_MAX:
            raise BadValue(f"{_named(value)} does not fit a 32-bit float")
        return float(value)

    return convert


def _datetime(value: Any) -> np.datetime64:
    if type(value) is not str:
        raise BadValue(f"expected an ISO 8601 time such as 2013-01-31T12:00:00, got {_named(value)}")
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise BadValue(f"expected an ISO 8601 time such as 2013-01-31T12:00:00, got {_named(value)}") from None
    aware = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    if not TIME_MIN <= aware <= TIME_MAX:  # compared before it is converted, which could leave the calendar
        raise BadValue(f"{_named(value)} is outside the years 1678 to 2261")
    return np.datetime64(aware.astimezone(UTC).replace(tzinfo=None), "ns")


def _binary(value: Any) -> bytes:
    if type(value) is not str:
        raise BadValue(f"expected a base64 string, got {_named(value)}")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise BadValue(f"expected a base64 string, got {_named(value)}") from None


NAN = float("nan")
PLAIN = {
    "boolean": Kind("boolean", _boolean, frozenset({bool}), np.bool_, None, object),
    "string": Kind("string", _string, frozenset({str}), object, None, object),
    "integer": Kind("integer", _integer("integer"), frozenset({int}), np.int32, NAN, np.float64),
    "long": Kind("long", _integer("long"), frozenset({int}), np.int64, NAN, np.float64),
    "float": Kind("float", _number("float"), frozenset({float}), np.float32, NAN, np.float32),
    "double": Kind("double", _number("double"), frozenset({float, int}), np.float64, NAN, np.float64),
    "datetime": Kind("datetime", _datetime, frozenset(), "datetime64[ns]", np.datetime64("NaT"), "datetime64[ns]"),
    "binary": Kind("binary", _binary, frozenset(), object, None, object),
    "any": Kind("any", lambda value: value, frozenset(), object, None, object),
}


def of(spec: Mapping[str, Any]) -> Kind:
    """The kind of one MLflow column or property spec: a plain type, an array, an object or a map."""
    name = str(spec["type"])
    if name in PLAIN:
        return PLAIN[name]
    if name == "array":
        return _nested(name, _array(of(spec["items"])))
    if name == "object":
        parts = {key: (of(part), bool(part.get("required", True))) for key, part in spec["properties"].items()}
        return _nested(name, _object(parts))
    if name == "map":
        return _nested(name, _map(of(spec["values"])))
    raise ValueError(f"the signature holds a type that is not known here: {name!r}")


def _nested(name: str, convert: Callable[[Any], Any]) -> Kind:
    return Kind(name, convert, frozenset(), object, None, object)


def _array(item: Kind) -> Callable[[Any], Any]:
    def convert(value: Any) -> list[Any]:
        if type(value) is not list:
            raise BadValue(f"expected an array of {item.name}, got {_named(value)}")
        return [None if element is None else item.convert(element) for element in value]

    return convert


def _object(parts: Mapping[str, tuple[Kind, bool]]) -> Callable[[Any], Any]:
    def convert(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise BadValue(f"expected an object, got {_named(value)}")
        for key, (_, required) in parts.items():
            if required and value.get(key) is None:
                raise BadValue(f"the property {key!r} is missing")
        if unknown := [key for key in value if key not in parts]:
            raise BadValue(f"the property {unknown[0]!r} is not in the signature")
        return {key: None if part is None else parts[key][0].convert(part) for key, part in value.items()}

    return convert


def _map(item: Kind) -> Callable[[Any], Any]:
    def convert(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise BadValue(f"expected an object of {item.name}, got {_named(value)}")
        return {key: None if part is None else item.convert(part) for key, part in value.items()}

    return convert
