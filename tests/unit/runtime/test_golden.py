"""Golden rows: what counts as the same prediction, and what the sentence says when it is not."""

import json
from typing import Any

import pytest

from runtime import golden

ROWS = {"dataframe_split": {"columns": ["x"], "data": [[1.0]]}}


def made(predictions: Any, **tolerances: float) -> golden.Golden:
    return golden.parse(json.dumps({"inputs": ROWS, "predictions": predictions, **tolerances}))


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ([1, 2], [1, 2]),
        ([1, 2.0], [1.0, 2]),
        ([0.1 + 0.2], [0.3]),
        ([[0.25, 0.75]], [[0.25, 0.75000001]]),
        (["AA", None], ["AA", None]),
        ([float("nan")], [None]),
        ([{"a": 1.0, "b": ["x"]}], [{"b": ["x"], "a": 1.0000000001}]),
        ({"y": [1.0]}, {"y": [1.0]}),
        ([True], [True]),
    ],
)
def test_same(expected: Any, got: Any) -> None:
    assert golden.difference(made(expected), got) is None


@pytest.mark.parametrize(
    ("expected", "got", "says"),
    [
        ([1, 2], [1], "expected 2 golden predictions, got 1"),
        ([0.5, 0.7], [0.5, 0.701], "golden row 1: expected 0.7, got 0.701"),
        ([1], [True], "golden row 0: expected 1, got true"),
        (["a"], ["b"], 'golden row 0: expected "a", got "b"'),
        ([[1.0, 2.0]], [[1.0]], "golden row 0"),
        ([{"a": 1}], [{"a": 1, "b": 2}], "golden row 0"),
        ([None], [0.0], "golden row 0: expected null, got 0.0"),
        ([1.0], "nothing", "expected [1.0]"),
    ],
)
def test_different(expected: Any, got: Any, says: str) -> None:
    assert says in str(golden.difference(made(expected), got))


def test_tolerances_are_the_versions_own() -> None:
    assert golden.difference(made([100.0], rtol=0.01, atol=0.0), [100.9]) is None
    assert golden.difference(made([100.0], rtol=0.001, atol=0.0), [100.9]) is not None
    assert golden.difference(made([0.0], rtol=0.0, atol=0.1), [0.05]) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", "must look like"),
        ('{"inputs": {"dataframe_split": {}}}', "must look like"),
        ('{"inputs": {"rows": []}, "predictions": []}', "must hold one of"),
        ('{"inputs": {"instances": []}, "predictions": [], "rtol": -1}', "rtol and atol"),
        ('{"inputs": {"instances": []}, "predictions": [], "atol": "x"}', "rtol and atol"),
    ],
)
def test_unusable_files_say_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(golden.BadGolden, match=says):
        golden.parse(text)
