"""The input side of an MLflow signature, and the check of a request against it.

Called by the app for every request. Bodies follow MLflow's scoring protocol: `dataframe_split`, `dataframe_records`, `instances`
or `inputs`. Whatever does not fit raises a Problem that names the column, the row and the fix. Must never import pandas.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import kinds, problem

FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
MAX_ROWS = 10_000  # more belongs into a batch job; also bounds the time of one model call


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    kind: kinds.Kind
    required: bool


@dataclass(frozen=True, slots=True)
class Tensor:
    name: str | None
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


Input = dict[str, np.ndarray[Any, Any]] | np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Signature:
    """Either columns or tensors. `params` names the inference parameters that a request may carry."""

    columns: tuple[Column, ...]
    tensors: tuple[Tensor, ...]
    params: frozenset[str]
    raw: Mapping[str, Any]


def parse(raw: Mapping[str, Any]) -> Signature:
    """From the `signature` of an MLmodel file, whose parts are JSON in strings. Raises ValueError if it cannot be served."""
    inputs = json.loads(raw.get("inputs") or "[]")
    params = json.loads(raw.get("params") or "[]")
    if not inputs:
        raise ValueError("the signature has no inputs")
    tensors = tuple(
        Tensor(spec.get("name"), np.dtype(spec["tensor-spec"]["dtype"]), tuple(spec["tensor-spec"]["shape"]))
        for spec in inputs
        if spec["type"] == "tensor"
    )
    columns: tuple[Column, ...] = ()
    if not tensors:
        columns = tuple(
            Column(str(spec.get("name", index)), kinds.of(spec), bool(spec.get("required", True)))
            for index, spec in enumerate(inputs)
        )
    outputs = json.loads(raw.get("outputs") or "null")
    names = frozenset(str(spec["name"]) for spec in params)
    return Signature(columns, tensors, names, {"inputs": inputs, "outputs": outputs, "params": params or None})


def check(signature: Signature, body: Any, max_rows: int = MAX_ROWS) -> tuple[Input, dict[str, Any]]:
    """What the model gets, and the inference parameters."""
    if type(body) is not dict:
        raise _invalid(f"send a JSON object with one of: {', '.join(FORMATS)}")
    found = [name for name in FORMATS if name in body]
    if len(found) != 1:
        which = "none" if not found else " and ".join(found)
        raise _invalid(f"send exactly one of {', '.join(FORMATS)}; the body has {which}")
    params = body.get("params") or {}
    if type(params) is not dict or not signature.params.issuperset(params):
        allowed = ", ".join(sorted(signature.params)) or "none"
        raise _invalid(f"params must be an object with known names; this model takes: {allowed}")
    data = body[found[0]]
    if signature.tensors:
        if found[0].startswith("dataframe"):
            raise _invalid(f"this model takes tensors: send inputs or instances, not {found[0]}")
        return _tensors(signature.tensors, data, by_row=found[0] == "instances", max_rows=max_rows), params
    if found[0] == "dataframe_split":
        lists = _from_split(signature, data)
    elif found[0] == "inputs" and type(data) is dict:
        lists = _from_columns(signature, data)
    else:
        lists = _from_records(signature, data, found[0])
    return _convert(signature, lists, max_rows), params


def _invalid(detail: str, column: str | None = None, row: int | None = None) -> problem.Problem:
    return problem.Problem("invalid-input", detail, column=column, row=row)


def _check_names(signature: Signature, names: Sequence[Any], where: str) -> None:
    known = {column.name: column for column in signature.columns}
    for name in names:
        if name not in known:
            raise _invalid(f"{where}: column {name!r} is not in the signature; remove it. Known: {', '.join(known)}", str(name))
    for column in signature.columns:
        if column.required and column.name not in names:
            raise _invalid(f"{where}: column {column.name!r} ({column.kind.name}) is missing; add it", column.name)


def _from_split(signature: Signature, data: Any) -> dict[str, Sequence[Any]]:
    columns, rows = (data.get("columns"), data.get("data")) if type(data) is dict else (None, None)
    if type(rows) is not list or (columns is not None and type(columns) is not list):
        raise _invalid('dataframe_split must look like {"columns": ["a", "b"], "data": [[1, 2]]}')
    if columns is None:  # positional, as pandas would
        columns = [column.name for column in signature.columns]
    if any(type(name) is not str for name in columns) or len(set(columns)) != len(columns):
        raise _invalid("dataframe_split: columns must be different strings")
    _check_names(signature, columns, "dataframe_split")
    width = len(columns)
    if any(type(row) is not list or len(row) != width for row in rows):
        index, row = next((i, r) for i, r in enumerate(rows) if type(r) is not list or len(r) != width)
        got = f"{len(row)} values" if type(row) is list else "no array"
        raise _invalid(f"dataframe_split: row {index} has {got}, the header has {width} columns", row=index)
    return dict(zip(columns, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(columns, ())


def _from_records(signature: Signature, data: Any, where: str) -> dict[str, Sequence[Any]]:
    if type(data) is not list:
        raise _invalid(f'{where} must be an array of objects such as {{"{signature.columns[0].name}": ...}}')
    known = {column.name for column in signature.columns}
    for index, record in enumerate(data):
        if type(record) is not dict:
            raise _invalid(f"{where}: row {index} is not an object of column names and values", row=index)
        if record.keys() != known:
            try:
                _check_names(signature, list(record), where)
            except problem.Problem as wrong:
                wrong.row = index
                raise
    return {column.name: [record.get(column.name) for record in data] for column in signature.columns}


def _from_columns(signature: Signature, data: dict[str, Any]) -> dict[str, Sequence[Any]]:
    _check_names(signature, list(data), "inputs")
    for name, values in data.items():
        if type(values) is not list:
            raise _invalid(f"inputs: column {name!r} must be an array of values, one per row", name)
    lengths = {name: len(values) for name, values in data.items()}
    if len(set(lengths.values())) > 1:
        raise _invalid(f"inputs: columns must have the same number of rows, got {lengths}")
    return data


def _check_rows(rows: int, max_rows: int) -> None:
    if rows == 0:
        raise _invalid("the input has no rows; send at least one")
    if rows > max_rows:
        raise _invalid(f"the input has {rows} rows; send at most {max_rows} in one request")


def _convert(signature: Signature, lists: Mapping[str, Sequence[Any]], max_rows: int) -> dict[str, np.ndarray[Any, Any]]:
    rows = len(next(iter(lists.values()), ()))
    _check_rows(rows, max_rows)
    table = {}
    for column in signature.columns:
        values = lists.get(column.name)
        if values is None:  # optional and absent: the same as all null
            values = [None] * rows
        if column.required and None in values:
            row = next(index for index, value in enumerate(values) if value is None)
            raise _invalid(
                f"column {column.name!r}, row {row}: null, but the column is required; send a value", column.name, row
            )
        try:
            table[column.name] = column.kind.column(values)
        except (ValueError, OverflowError):
            raise _first_bad(column, values) from None
    return table


def _first_bad(column: Column, values: Sequence[Any]) -> problem.Problem:
    for row, value in enumerate(values):
        try:
            if value is not None:
                column.kind.convert(value)
        except (ValueError, OverflowError) as wrong:
            return _invalid(f"column {column.name!r}, row {row}: {wrong}", column.name, row)
    return _invalid(f"column {column.name!r} cannot be read as {column.kind.name}", column.name)


def _tensors(tensors: Sequence[Tensor], data: Any, *, by_row: bool, max_rows: int) -> Input:
    if len(tensors) == 1 and tensors[0].name is None:
        return _tensor(tensors[0], data, max_rows)
    names = [str(tensor.name) for tensor in tensors]
    if by_row and type(data) is list and data and all(type(row) is dict and row.keys() == set(names) for row in data):
        data = {name: [row[name] for row in data] for name in names}
    if type(data) is not dict or data.keys() != set(names):
        raise _invalid(f"send exactly the tensors {', '.join(names)} by name")
    return {str(tensor.name): _tensor(tensor, data[str(tensor.name)], max_rows) for tensor in tensors}


def _tensor(tensor: Tensor, data: Any, max_rows: int) -> np.ndarray[Any, Any]:
    wanted = f"shape {list(tensor.shape)} of {tensor.dtype} (-1 is any length)"
    if type(data) is not list:
        raise _invalid(f"the tensor must be nested arrays of {wanted}", tensor.name)
    _check_rows(len(data), max_rows)
    try:
        array = np.array(data)
    except ValueError:
        raise _invalid(f"the nested arrays are ragged; expected {wanted}", tensor.name) from None
    if array.ndim != len(tensor.shape) or any(
        want not in (-1, got) for want, got in zip(tensor.shape, array.shape, strict=True)
    ):
        raise _invalid(f"the tensor has shape {list(array.shape)}; expected {wanted}", tensor.name)
    if tensor.dtype.kind in "OSU" and array.dtype.kind in "OU":
        return array.astype(tensor.dtype)
    # by value, not by type: JSON has one kind of integer, which NumPy reads as 64 bits
    takes = {"b": "b", "i": "biu", "u": "biu", "f": "biuf", "c": "biuf"}.get(tensor.dtype.kind, "")
    if array.dtype.kind not in takes:
        raise _invalid(f"the tensor holds values of type {array.dtype}; expected {wanted}", tensor.name)
    return _within(array, tensor, wanted)


def _within(array: np.ndarray[Any, Any], tensor: Tensor, wanted: str) -> np.ndarray[Any, Any]:
    if tensor.dtype.kind in "iu":
        limits = np.iinfo(tensor.dtype)
        fits = array.min(initial=0) >= limits.min and array.max(initial=0) <= limits.max
    elif tensor.dtype.kind == "f":
        fits = bool((np.abs(array) <= np.finfo(tensor.dtype).max).all())
    else:
        fits = True
    if not fits:
        raise _invalid(f"the tensor holds numbers too large for {wanted}", tensor.name)
    return array.astype(tensor.dtype)
