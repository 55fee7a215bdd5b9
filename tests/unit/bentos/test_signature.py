"""Input against the signature: every kind of bad input gets a sentence that names the column, the row and the fix."""

import json
from typing import Any

import numpy as np
import pytest

from bentos.mlflow_model.scoring import problem, signature

COLUMNS = [
    {"type": "string", "name": "carrier", "required": True},
    {"type": "integer", "name": "hour", "required": True},
    {"type": "long", "name": "ticks", "required": False},
    {"type": "double", "name": "wind", "required": False},
    {"type": "float", "name": "ratio", "required": False},
    {"type": "boolean", "name": "late", "required": False},
    {"type": "datetime", "name": "at", "required": False},
    {"type": "binary", "name": "blob", "required": False},
    {"type": "array", "items": {"type": "double"}, "name": "vector", "required": False},
    {"type": "object", "properties": {"x": {"type": "long"}}, "name": "thing", "required": False},
    {"type": "map", "values": {"type": "string"}, "name": "tags", "required": False},
]
FLIGHTS = signature.parse({"inputs": json.dumps(COLUMNS)})
GOOD = {"carrier": "AA", "hour": 5}


def check(body: Any, max_rows: int = 10) -> Any:
    return signature.check(FLIGHTS, body, max_rows)[0]


def one(**values: Any) -> dict[str, Any]:
    return {"dataframe_records": [GOOD, {**GOOD, **values}]}


def split(columns: Any, data: Any) -> dict[str, Any]:
    return {"dataframe_split": {"columns": columns, "data": data}}


@pytest.mark.parametrize(
    "body",
    [
        split(["hour", "carrier"], [[5, "AA"], [6, "UA"]]),
        {"dataframe_records": [GOOD, {**GOOD, "hour": 6, "carrier": "UA"}]},
        {"instances": [GOOD, {**GOOD, "hour": 6, "carrier": "UA"}]},
        {"inputs": {"hour": [5, 6], "carrier": ["AA", "UA"]}},
        {"inputs": [GOOD, {**GOOD, "hour": 6.0, "carrier": "UA"}]},
    ],
)
def test_every_format_gives_the_same_table(body: Any) -> None:
    table = check(body)
    assert list(table) == [column["name"] for column in COLUMNS]
    assert table["carrier"].tolist() == ["AA", "UA"]
    assert table["hour"].tolist() == [5, 6]
    assert table["hour"].dtype == np.int32
    assert np.isnan(table["wind"]).all()  # optional and absent
    assert np.isnat(table["at"]).all()
    assert table["late"].tolist() == [None, None]


def test_types_arrive_as_the_signature_says() -> None:
    full = {"ticks": 2**40, "wind": 3, "ratio": 0.5, "late": True, "at": "2013-01-31T12:00:00+01:00", "blob": "aGk="}
    table = check({"dataframe_records": [{**GOOD, **full, "vector": [1, 2.5], "thing": {"x": 1}, "tags": {"a": "b"}}]})
    kinds = {name: table[name].dtype.str for name in ("ticks", "wind", "ratio", "late", "at")}
    assert kinds == {"ticks": "<i8", "wind": "<f8", "ratio": "<f4", "late": "|b1", "at": "<M8[ns]"}
    assert table["at"][0] == np.datetime64("2013-01-31T11:00:00")
    assert [table[name][0] for name in ("blob", "vector", "thing", "tags")] == [b"hi", [1.0, 2.5], {"x": 1}, {"a": "b"}]


def test_null_in_an_optional_column() -> None:
    table = check(one(wind=None, ticks=None, late=None))
    assert np.isnan(table["wind"]).all()
    assert np.isnan(table["ticks"]).all()


@pytest.mark.parametrize(
    ("body", "says", "column", "row"),
    [
        ([], "send a JSON object", None, None),
        ({}, "exactly one of", None, None),
        ({"rows": []}, "the body has none", None, None),
        ({"inputs": {}, "instances": []}, "instances and inputs", None, None),
        ({"instances": [GOOD], "params": {"t": 1}}, "params must be", None, None),
        ({"instances": [GOOD], "params": [1]}, "params must be", None, None),
        ({"dataframe_split": []}, "must look like", None, None),
        ({"dataframe_split": {"columns": "x", "data": []}}, "must look like", None, None),
        (split(["carrier", "carrier"], []), "different strings", None, None),
        (split([1], []), "different strings", None, None),
        (split(["carrier"], [["AA"]]), "'hour' (integer) is missing", "hour", None),
        (split(["carrier", "hour", "seat"], [["AA", 5, 1]]), "'seat' is not in the signature; remove it", "seat", None),
        (split(["carrier", "hour"], [["AA", 5], ["AA"]]), "row 1 has 1 values, the header has 2", None, 1),
        (split(["carrier", "hour"], [["AA", 5], 7]), "row 1 has no array", None, 1),
        (split(["carrier", "hour"], []), "no rows", None, None),
        (split(["carrier", "hour"], [["AA", 5]] * 11), "at most 10", None, None),
        ({"dataframe_records": {}}, "must be an array of objects", None, None),
        ({"instances": [GOOD, [1, 2]]}, "row 1 is not an object", None, 1),
        ({"instances": [GOOD, {"carrier": "AA"}]}, "'hour' (integer) is missing", "hour", 1),
        ({"instances": []}, "no rows", None, None),
        ({"inputs": {"carrier": ["AA"], "hour": [1, 2]}}, "same number of rows", None, None),
        ({"inputs": {"carrier": "AA", "hour": [1]}}, "must be an array", "carrier", None),
        (one(hour=None), "row 1: null, but the column is required", "hour", 1),
        (one(hour="five"), "row 1: expected an integer, got a string ('five')", "hour", 1),
        (one(hour=5.5), "expected an integer, got a number (5.5)", "hour", 1),
        (one(hour=True), "expected an integer, got a boolean", "hour", 1),
        (one(hour=2**31), "does not fit integer", "hour", 1),
        (one(ticks=1.2345678901234568e29), "does not fit long", "ticks", 1),
        (one(ticks=2**63), "does not fit long", "ticks", 1),
        (one(wind="strong"), "expected a number", "wind", 1),
        (one(wind=False), "expected a number, got a boolean", "wind", 1),
        (one(ratio=1e39), "does not fit a 32-bit float", "ratio", 1),
        (one(carrier=7), "expected a string, got an integer (7)", "carrier", 1),
        (one(late="yes"), "expected true or false", "late", 1),
        (one(late=1), "expected true or false", "late", 1),
        (one(at="yesterday"), "expected an ISO 8601 time", "at", 1),
        (one(at="0001-01-01"), "outside the years", "at", 1),
        (one(at="9999-12-31T23:59:59-23:59"), "outside the years", "at", 1),
        (one(at=5), "expected an ISO 8601 time", "at", 1),
        (one(blob="%%%"), "expected a base64 string", "blob", 1),
        (one(blob="é"), "expected a base64 string", "blob", 1),
        (one(vector=[1, "x"]), "expected a number", "vector", 1),
        (one(vector=1), "expected an array of double", "vector", 1),
        (one(thing={"y": 1}), "the property 'x' is missing", "thing", 1),
        (one(thing={"x": 1, "y": 1}), "'y' is not in the signature", "thing", 1),
        (one(thing=[]), "expected an object", "thing", 1),
        (one(tags={"a": 1}), "expected a string", "tags", 1),
    ],
)
def test_bad_input_is_named(body: Any, says: str, column: str | None, row: int | None) -> None:
    with pytest.raises(problem.Problem) as caught:
        check(body)
    assert says in caught.value.detail
    assert (caught.value.status, caught.value.column, caught.value.row) == (422, column, row)


TENSOR = signature.parse(
    {"inputs": json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}])},
)
BYTES = signature.parse(
    {"inputs": json.dumps([{"type": "tensor", "name": "image", "tensor-spec": {"dtype": "uint8", "shape": [-1, 2]}}])},
)


def test_tensors() -> None:
    array, _ = signature.check(TENSOR, {"inputs": [[1, 2], [3, 4.5]]})
    assert isinstance(array, np.ndarray)
    assert array.dtype == np.float32
    for body in ({"inputs": {"image": [[1, 255]]}}, {"instances": [{"image": [1, 255]}]}):
        named, _ = signature.check(BYTES, body)
        assert isinstance(named, dict)
        assert named["image"].tolist() == [[1, 255]]


@pytest.mark.parametrize(
    ("known", "body", "says"),
    [
        (TENSOR, {"dataframe_records": []}, "takes tensors"),
        (TENSOR, {"inputs": 5}, "nested arrays"),
        (TENSOR, {"inputs": []}, "no rows"),
        (TENSOR, {"inputs": [[1, 2]] * 11}, "at most 10"),
        (TENSOR, {"inputs": [[1, 2], [3]]}, "ragged"),
        (TENSOR, {"inputs": [[1, 2, 3]]}, "shape [1, 3]"),
        (TENSOR, {"inputs": [1, 2]}, "shape [2]"),
        (TENSOR, {"inputs": [["a", "b"]]}, "values of type"),
        (TENSOR, {"inputs": [[None, 1]]}, "values of type"),
        (TENSOR, {"inputs": [[1e39, 1]]}, "too large"),
        (BYTES, {"inputs": {"image": [[1, 256]]}}, "too large"),
        (BYTES, {"inputs": {"image": [[1, -1]]}}, "too large"),
        (BYTES, {"inputs": {"image": [[1.5, 1]]}}, "values of type"),
        (BYTES, {"inputs": {"picture": [[1, 1]]}}, "send exactly the tensors image"),
        (BYTES, {"inputs": [[1, 1]]}, "send exactly the tensors image"),
    ],
)
def test_bad_tensors(known: signature.Signature, body: Any, says: str) -> None:
    with pytest.raises(problem.Problem) as caught:
        signature.check(known, body, 10)
    assert says in caught.value.detail
    assert caught.value.status == 422


@pytest.mark.parametrize("raw", [{}, {"inputs": "[]"}, {"inputs": '[{"type": "quaternion", "name": "q"}]'}, {"inputs": "{"}])
def test_unusable_signatures(raw: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        signature.parse(raw)
