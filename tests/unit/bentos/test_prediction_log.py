"""What a bento logs of its predictions, and that nothing which happens to the log happens to an answer. Files are read with the one reader that there is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bentos.mlflow_model.scoring import prediction_log, prediction_rows, signature
from monitoring import predictions
from tests.waiting import poll

ALWAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
KINDS = {"x": "double", "n": "long", "t": "string", "b": "boolean", "at": "datetime"}


def columns(**kinds: str) -> signature.Signature:
    return signature.parse(
        {"inputs": json.dumps([{"type": kind, "name": name, "required": False} for name, kind in kinds.items()])}
    )


def asked(schema: signature.Signature, *records: dict[str, Any]) -> signature.Input:
    return signature.check(schema, {"instances": list(records)})[0]


@dataclass
class Heard:
    written: int = 0
    lost: dict[str, int] = field(default_factory=dict)

    def wrote(self, rows: int) -> None:
        self.written += rows

    def dropped(self, rows: int, why: str) -> None:
        self.lost[why] = self.lost.get(why, 0) + rows


@contextmanager
def log(
    root: str | Path, schema: signature.Signature, heard: Heard, *, version: str = "3", **wanted: float
) -> Iterator[prediction_log.PredictionLog]:
    settings = prediction_log.Settings(str(root), **{"share_pct": 100.0, "every_s": 3600.0, **wanted})
    made = prediction_log.PredictionLog(settings, "delay", version, heard.wrote, heard.dropped)
    made.serve(schema)
    try:
        yield made
    finally:
        made.close()


def put(
    one: prediction_log.PredictionLog,
    data: signature.Input,
    answer: Any,
    *,
    request: str = "r",
    trace: bytes = b"",
    size: int = 10,
) -> None:
    taken = one.take({b"traceparent": trace} if trace else {}, request, size, data)
    assert taken is not None
    one.add(taken, answer)


def read(root: str | Path, version: str = "3") -> pd.DataFrame:
    frame = predictions.read(str(root), "delay", version, *ALWAYS)
    assert frame.attrs[predictions.SKIPPED] == []
    return frame


def test_rows_are_read_as_they_were_asked_and_answered(tmp_path: Path) -> None:
    schema = columns(**KINDS)
    full = {"x": 1.5, "n": 2**40, "t": "a", "b": True, "at": "2013-01-31T12:00:00"}
    with log(tmp_path, schema, heard := Heard()) as one:
        put(
            one,
            asked(schema, full, dict.fromkeys(KINDS)),
            np.array([0.25, 0.75]),
            request="first",
            trace=b"00-" + b"ab" * 16 + b"-00f067aa0ba902b7-00",
        )
        put(one, asked(schema, full), np.array([1]), request="second")
    frame = read(tmp_path)
    assert heard == Heard(3)
    assert frame["request_id"].tolist() == ["first", "first", "second"]
    assert frame["trace_id"].tolist() == ["ab" * 16, "ab" * 16, None]
    assert frame["row"].tolist() == [0, 1, 0]
    assert set(frame["schema_version"]) == {prediction_rows.schema_version(schema)}
    assert (set(frame["model"]), set(frame["version"])) == ({"delay"}, {"3"})
    assert frame["prediction"].tolist() == [0.25, 0.75, 1.0]
    features = frame[[f"feature.{name}" for name in KINDS]]
    assert features.iloc[0].tolist() == [1.5, 2**40, "a", True, pd.Timestamp("2013-01-31T12:00:00", tz="UTC")]
    assert features.iloc[1].isna().all()
    assert abs((frame["time"][0].to_pydatetime() - datetime.now(UTC)).total_seconds()) < 60  # noqa: TID251  its own clock


@pytest.mark.parametrize(
    ("answers", "logged"),
    [
        pytest.param([np.array([[0.1, 0.9], [0.5, 0.5]])], [[0.1, 0.9], [0.5, 0.5]], id="probabilities"),
        pytest.param([np.array([[3.0], [4.0]])], [3.0, 4.0], id="one column"),
        pytest.param([["yes", None]], ["yes", None], id="labels"),
        pytest.param([[1, 2.5], [None, True]], [1.0, 2.5, None, 1.0], id="numbers with a null"),
        pytest.param([[[1, 2], [3]]], ["[1,2]", "[3]"], id="ragged"),
        pytest.param([[{"a": 1}, {"a": 2}]], ['{"a":1}', '{"a":2}'], id="records"),
        pytest.param([{"a": [1, 2], "b": ["u", "v"]}], ['{"a":1,"b":"u"}', '{"a":2,"b":"v"}'], id="columns"),
        pytest.param([np.array([1.0, 2.0]), ["x", "y"]], ["1.0", "2.0", "x", "y"], id="numbers, then texts"),
        pytest.param([np.array([1.0, 2.0, 3.0])], [None, None], id="not one per row"),
        pytest.param([np.array(7.0)], [None, None], id="no rows at all"),
    ],
)
def test_whatever_a_model_answers_has_a_place(tmp_path: Path, answers: list[Any], logged: list[Any]) -> None:
    schema = columns(x="double")
    with log(tmp_path, schema, heard := Heard()) as one:
        for answer in answers:
            put(one, asked(schema, {"x": 1.0}, {"x": 2.0}), answer)
    assert heard == Heard(len(logged))
    found = [value.tolist() if isinstance(value, np.ndarray) else value for value in read(tmp_path)["prediction"]]
    assert [None if isinstance(value, float) and np.isnan(value) else value for value in found] == logged


def test_tensors_arrays_and_bytes_are_json(tmp_path: Path) -> None:
    tensor = signature.parse(
        {"inputs": json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}])}
    )
    named = signature.parse(
        {
            "inputs": json.dumps(
                [
                    {"type": "tensor", "name": name, "tensor-spec": {"dtype": "float32", "shape": shape}}
                    for name, shape in (("a", [-1]), ("b", [-1, 2]))
                ]
            )
        }
    )
    nested = signature.parse(
        {"inputs": json.dumps([{"type": "array", "items": {"type": "long"}, "name": "a"}, {"type": "binary", "name": "raw"}])}
    )
    with log(tmp_path / "t", tensor, heard := Heard()) as one:
        put(one, signature.check(tensor, {"inputs": [[1.0, 2.0], [3.0, 4.0]]})[0], [1, 2])
    with log(tmp_path / "m", named, heard) as one:
        put(one, signature.check(named, {"inputs": {"a": [1.0, 2.0], "b": [[3.0, 4.0], [5.0, 6.0]]}})[0], [1, 2])
    with log(tmp_path / "n", nested, heard) as one:
        put(one, asked(nested, {"a": [1, 2], "raw": "aGk="}), ["x"])
    assert heard == Heard(5)
    assert read(tmp_path / "m")[["feature.a", "feature.b"]].to_numpy().tolist() == [["1.0", "[3.0,4.0]"], ["2.0", "[5.0,6.0]"]]
    assert read(tmp_path / "t")["feature.inputs"].tolist() == ["[1.0,2.0]", "[3.0,4.0]"]
    frame = read(tmp_path / "n")
    assert (frame["feature.a"][0], frame["feature.raw"][0]) == ("[1,2]", '"aGk="')


def test_the_row_is_logged_as_it_came_though_the_model_changes_it(tmp_path: Path) -> None:
    schema = columns(x="double")
    data = asked(schema, {"x": 1.0})
    with log(tmp_path, schema, Heard()) as one:
        taken = one.take({}, "r", 1, data)
        data["x"][0] = 99.0
        assert taken is not None
        one.add(taken, [0.0])
    assert read(tmp_path)["feature.x"].tolist() == [1.0]


def test_the_share_is_drawn_by_request_so_versions_log_the_same_ones(tmp_path: Path) -> None:
    schema = columns(x="double")
    data = asked(schema, {"x": 1.0})
    ids = [f"{index:08x}-request" for index in range(20_000)]
    with (
        log(tmp_path, schema, Heard(), share_pct=10.0) as one,
        log(tmp_path, schema, Heard(), version="4", share_pct=10.0) as other,
    ):
        first, second = ({each for each in ids if made.take({}, each, 1, data)} for made in (one, other))
        nameless = sum(one.take({}, "", 1, data) is not None for _ in ids)
    assert first == second
    assert 1800 < len(first) < 2200
    assert 1800 < nameless < 2200


def test_rows_of_a_probe_are_no_traffic(tmp_path: Path) -> None:
    schema = columns(x="double")
    with log(tmp_path, schema, Heard()) as one:
        assert one.take({prediction_log.PROBE: b"golden"}, "r", 1, asked(schema, {"x": 1.0})) is None


def test_a_file_is_written_when_its_first_row_has_waited_long_enough(tmp_path: Path) -> None:
    schema = columns(x="double")
    with log(tmp_path, schema, heard := Heard(), every_s=0.2) as one:
        for number in (1, 2):
            put(one, asked(schema, {"x": 1.0}), [0.5])
            poll(lambda wanted=number: heard.written == wanted)  # type: ignore[misc]
    assert len(read(tmp_path)) == 2


def test_a_full_file_is_written_at_once(tmp_path: Path) -> None:
    schema = columns(x="double")
    many = asked(schema, *[{"x": 1.0}] * 5000)
    with log(tmp_path, schema, heard := Heard()) as one:
        put(one, many, np.zeros(5000))
        put(one, many, np.zeros(5000))
        poll(lambda: heard.written == 10_000)
        put(one, asked(schema, {"x": 1.0}), [1.0], size=prediction_log.FILE_BYTES)
        poll(lambda: heard.written == 10_001)


def test_an_answer_without_json_costs_its_rows_and_nobody_elses(tmp_path: Path) -> None:
    schema = columns(x="double")
    with log(tmp_path, schema, heard := Heard()) as one:
        for number in range(9):
            put(one, asked(schema, {"x": float(number)}), [object() if number in (3, 4) else 0.5])
    assert heard == Heard(7, {"encoding": 2})
    assert read(tmp_path)["feature.x"].tolist() == [0.0, 1.0, 2.0, 5.0, 6.0, 7.0, 8.0]


def test_what_cannot_even_be_copied_is_lost_and_fails_nobody(tmp_path: Path) -> None:
    with log(tmp_path, columns(x="double"), heard := Heard()) as one:
        assert one.take({}, "r", 1, {"x": [1.0]}) is None  # type: ignore[dict-item]  # a list has no `item`
    assert heard == Heard(0, {"encoding": 1})


def test_models_in_one_process_do_not_mix(tmp_path: Path) -> None:
    """BentoML's own monitor writes the rows of the first into the file of the second."""
    schema, other_schema = columns(x="double"), columns(y="double")
    with log(tmp_path, schema, Heard()) as one, log(tmp_path, other_schema, Heard(), version="4") as other:
        for number in range(5):
            put(one, asked(schema, {"x": float(number)}), [0.25])
            put(other, asked(other_schema, {"y": float(number)}), [0.75])
    for version, feature, answer in (("3", "feature.x", 0.25), ("4", "feature.y", 0.75)):
        frame = read(tmp_path, version)
        assert [name for name in frame if name.startswith("feature.")] == [feature]
        assert frame["prediction"].tolist() == [answer] * 5


@pytest.mark.parametrize("text", ["a", "-1", "101", "nan"])
def test_a_setting_that_makes_no_sense_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="SLIPWAY_PREDICTION_LOG_SHARE_PCT must be a number from 0 to 100"):
        prediction_log.settings({"SLIPWAY_PREDICTION_LOG": "/x", "SLIPWAY_PREDICTION_LOG_SHARE_PCT": text})


def test_settings_have_defaults() -> None:
    assert prediction_log.settings({}) is None
    assert prediction_log.settings({"SLIPWAY_PREDICTION_LOG": "s3://b"}) == prediction_log.Settings("s3://b")
