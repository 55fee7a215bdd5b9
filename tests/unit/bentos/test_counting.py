"""Rows are counted where the profile counts them, one by one as in batches, and whatever goes wrong fails no answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from bentos.mlflow_model.scoring import counting, exposing, predictor, signature
from registry import profile

TEXTS = np.array(["UA", "AA", None, "B6", "<null>", "=x"] * 50, dtype=object)
CHANCE = np.random.default_rng(0)
COLUMNS = {
    "temp": np.where(CHANCE.random(300) < 0.1, np.nan, CHANCE.normal(size=300)),
    "carrier": TEXTS,
    "flag": CHANCE.random(300) < 0.5,
    "at": np.array("2026-01-01", dtype="datetime64[ns]") + CHANCE.integers(0, 10**15, 300).astype("timedelta64[ns]"),
}
MADE = profile.build(COLUMNS, CHANCE.random((300, 2)), importance={"temp": 1.0, "carrier": 3.0}, top=4)
RAW = json.dumps(MADE.to_json()).encode()


def counter(made: profile.Profile = MADE) -> counting.Counter:
    return counting.Counter(counting.read(json.dumps(made.to_json()).encode()))


def cells(counted: counting.Counter) -> dict[str, dict[str, int]]:
    """Only what was counted."""
    return {name: {b: c for b, c in zip(bins, counts, strict=True) if c} for name, bins, counts in counted.series()}


def test_places_are_those_of_the_profile() -> None:
    counted = counter()
    counted.count(COLUMNS, CHANCE.random((300, 2)))
    for column, (name, bins, counts) in zip(MADE.features, counted.series(), strict=False):
        assert (column.name, len(bins)) == (name, column.blocks.shape[1])
        assert list(counts) == column.blocks.sum(axis=0).tolist()
    assert counted.rows == 300
    assert sum(counted.series()[-1][2]) == 300


@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=True, allow_infinity=True),
            st.none() | st.sampled_from(["UA", "B6", "new", "<null>"]) | st.text(max_size=120) | st.floats(),
            st.none() | st.booleans(),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_single_rows_and_batches_count_alike_and_as_the_profile(rows: list[tuple[Any, ...]]) -> None:
    def column(index: int) -> np.ndarray[Any, Any]:
        found = np.empty(len(rows), dtype=object)
        found[:] = [row[index] for row in rows]
        return found

    table = {"temp": column(0).astype(float), "carrier": column(1), "flag": column(2)}
    scores = np.full((len(rows), 2), 0.25)
    together, apart = counter(), counter()
    together._batch(table, scores[:, 1], len(rows))
    for index in range(len(rows)):
        apart.count({name: values[index : index + 1] for name, values in table.items()}, scores[index : index + 1])
    assert together.counts() == apart.counts()
    assert apart.failures == 0
    for made, (name, _, counts) in zip(MADE.features[:2], together.series(), strict=False):
        assert list(counts) == np.bincount(made.places(table[name]), minlength=len(counts)).tolist()


def test_what_is_missing_is_null() -> None:
    counted = counter()
    counted.count({"carrier": np.array(["AA", None], dtype=object)}, np.zeros((2, 2)))
    counted.count({"carrier": np.array(["zz"], dtype=object)}, np.zeros((1, 2)))
    found = cells(counted)
    assert found["temp"] == {"<null>": 3}
    assert found["at"] == {"<null>": 3}
    assert found["carrier"] == {"AA": 1, "<null>": 1, "<unseen>": 1}


def test_times_and_odd_values_are_counted() -> None:
    counted = counter()
    times = np.array(["2026-01-02", "NaT"], dtype="datetime64[ns]")
    odd = np.empty(2, dtype=object)
    odd[:] = [["a", "list"], {"an": "object"}]
    counted.count({"at": times, "carrier": odd}, np.zeros((2, 2)))
    for index in range(2):
        counted.count({"at": times[index : index + 1], "carrier": odd[index : index + 1]}, np.zeros((1, 2)))
    found = cells(counted)
    assert found["at"]["<null>"] == 2
    assert sum(found["at"].values()) == 4
    assert found["carrier"] == {"<unseen>": 4}
    assert counted.failures == 0


def test_nothing_fails_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    class Model:
        def __call__(self, data: Any, _params: Mapping[str, Any]) -> Any:
            return np.full((len(data), 2), 0.5)

    schema = signature.parse({"inputs": json.dumps([{"type": "string", "name": "temp", "required": True}])})
    counted = counter()
    model = counting.watched(predictor.Predictor(schema, Model(), None, by_row=True), counted)
    assert model.by_row
    for rows in (["warm"], ["warm", "cold"]):  # a text where the profile has numbers
        assert model.predict({"temp": np.array(rows, dtype=object)}, {}).shape == (len(rows), 2)
    assert (counted.rows, counted.failures) == (0, 2)
    assert len(caplog.records) == 1
    counted.count({}, object())
    counted.count(np.zeros((2, 3)), np.zeros((2, 2)))
    assert counted.rows == 2, "tensors have no features, but predictions"


def test_several_classes_and_answers_of_another_shape() -> None:
    three = profile.build({}, CHANCE.random((200, 3)))
    counted = counter(three)
    counted.count({}, np.array([[0.1, 0.2, 0.7], [0.9, 0.0, 0.1]]))
    assert cells(counted)["prediction"] == {"2": 1, "0": 1}
    value = counter(profile.build({}, CHANCE.normal(size=200)))
    value.count({}, np.array([[0.5]]))
    value.count({}, [0.5, 0.6])
    assert value.rows == 3


def test_a_profile_that_is_missing_or_of_another_schema_is_said(tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / "slipway").mkdir(parents=True)
    assert "no reference profile" in str(counting.load(model))
    (model / "slipway" / "profile.json").write_bytes(b'{"format": 1}')
    assert "its format is 1, and this bento reads 2" in str(counting.load(model))
    for bad in (b"[]", b"{", b'{"format": 2}', b'{"format": 2, "features": [{"name": "x", "kind": "numeric", "edges": [1]}]}'):
        (model / "slipway" / "profile.json").write_bytes(bad)
        assert "cannot be used" in str(counting.load(model))
    (model / "slipway" / "profile.json").write_bytes(RAW)
    assert isinstance(counting.load(model), counting.Reference)
    (model / "slipway" / "profile.json").rename(tmp_path / "profile.json")
    (tmp_path / "slipway").mkdir()
    (tmp_path / "profile.json").rename(tmp_path / "slipway" / "profile.json")
    assert isinstance(counting.load(model), counting.Reference)


async def asked(exposed: exposing.Exposed, path: str, accept: bytes = b"*/*") -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nobody reads")

    await exposed({"type": "http", "method": "GET", "path": path, "headers": [(b"accept", accept)]}, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body


async def bentos_own(scope: Any, _receive: Any, send: Any) -> None:
    """As BentoML answers, in two parts."""
    found = scope["path"] == "/metrics"
    status = 200 if found else 404
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"19")]})
    await send({"type": "http.response.body", "body": b"# TYPE up gauge\n", "more_body": True})
    await send({"type": "http.response.body", "body": b"up 1\n"})


async def test_prometheus_reads_it_beside_bentoml_s_own() -> None:
    exposed = exposing.Exposed(bentos_own, 'a "model"', "3", counting.read(RAW))
    assert exposed.counter is not None
    exposed.counter.count(COLUMNS, CHANCE.random((300, 2)))
    status, headers, body = await asked(exposed, "/metrics")
    assert status == 200
    assert headers[b"content-length"] == str(len(body)).encode()
    samples = [s for family in text_string_to_metric_families(body.decode()) for s in family.samples]
    assert samples[0].name == "up"
    labels = [(s.name, tuple(sorted(s.labels.items()))) for s in samples]
    assert len(set(labels)) == len(labels), "no series twice"
    found = {(s.labels["feature"], s.labels["bin"]): s.value for s in samples if s.name == exposing.FEATURES}
    assert found["carrier", "<null>"] == found["carrier", "AA"] == found["carrier", "=<null>"] == 50
    assert sum(value for (name, _), value in found.items() if name == "temp") == 300
    assert sum(s.value for s in samples if s.name == exposing.PREDICTIONS) == 300
    assert {s.labels["model"] for s in samples[1:]} == {'a "model"'}
    assert (await asked(exposed, "/livez"))[0] == 404


async def test_who_asks_for_openmetrics_gets_it_whole() -> None:
    exposed = exposing.Exposed(bentos_own, "m", "3", counting.read(RAW))
    as_prometheus_asks = b"application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    _, headers, body = await asked(exposed, "/metrics", as_prometheus_asks)
    assert headers[b"content-type"].startswith(b"application/openmetrics-text; version=1.0.0")
    assert headers[b"content-length"] == str(len(body)).encode()
    parsed = list(openmetrics_parser.text_string_to_metric_families(body.decode()))  # type: ignore[no-untyped-call]
    plain = text_string_to_metric_families((await asked(exposed, "/metrics"))[2].decode())
    assert [family.samples for family in parsed] == [family.samples for family in plain]


async def test_the_control_plane_reads_counts_and_profile() -> None:
    exposed = exposing.Exposed(bentos_own, "m", "3", counting.read(RAW))
    assert exposed.counter is not None
    exposed.counter.count({}, np.zeros((5, 2)))
    found = orjson.loads((await asked(exposed, "/counts"))[2])
    assert (found["format"], found["rows"], found["failures"]) == (1, 5, 0)
    assert found["process"] == exposed.counter.process
    assert sum(found["counts"]) == 5 * len(exposed.counter.reference.columns)
    assert (await asked(exposed, "/counts/profile"))[2] == RAW
    assert counting.read(RAW).fingerprint == found["profile"]


async def test_without_a_profile_it_says_so() -> None:
    exposed = exposing.Exposed(bentos_own, "m", "3", "the version has no reference profile")
    assert orjson.loads((await asked(exposed, "/counts"))[2]) == {
        "format": 1,
        "reason": "the version has no reference profile",
    }
    assert b'slipway_server_counting{model="m",model_version="3"} 0' in (await asked(exposed, "/metrics"))[2]
    assert (await asked(exposed, "/counts/profile"))[0] == 404


@pytest.mark.parametrize(
    ("answers", "begins", "ends"),
    [
        (np.linspace(0.0, 1.0, 1000), ["<far below>", "<below>", "0.0", "0.002", "0.01"], ["<above>", "<far above>", "<null>"]),
        (np.linspace(-5.0, 5.0, 1000), ["<far below>", "<below>", "-5.0"], ["<above>", "<far above>", "<null>"]),
        (np.array(["a", "b"] * 500, dtype=object), ["a", "b"], ["<other>", "<unseen>", "<null>"]),
        (np.array([f"{n % 40}" for n in range(1000)], dtype=object), ["0", "1"], ["<other>", "<unseen>", "<null>"]),
    ],
    ids=["probabilities", "numbers", "classes", "many classes"],
)
async def test_predictions_are_shown_in_few_bins_that_miss_no_row(answers: Any, begins: list[str], ends: list[str]) -> None:
    made = profile.build({"x": np.arange(1000.0)}, answers, top=100)
    exposed = exposing.Exposed(bentos_own, "m", "3", counting.read(json.dumps(made.to_json()).encode()))
    assert exposed.counter is not None
    exposed.counter.count({"x": np.arange(1000.0)}, answers)
    body = (await asked(exposed, "/metrics"))[2].decode()
    samples = [s for family in text_string_to_metric_families(body) for s in family.samples if s.name == exposing.PREDICTIONS]
    bins = [s.labels["bin"] for s in samples]
    assert len(set(bins)) == len(bins) <= exposing.MOST
    assert (sorted(bins[: len(begins)]), bins[-3:]) == (sorted(begins), ends)
    assert sum(s.value for s in samples) == 1000
    assert all(s.value == 0 for s in samples if s.labels["bin"] in ("<unseen>", "<null>"))


async def test_wide_tables_show_their_most_important_features() -> None:
    names = [f"f{index:03}" for index in range(130)]
    rows = CHANCE.normal(size=(64, 130))
    made = profile.build(dict(zip(names, rows.T, strict=True)), np.zeros(64), importance={"f129": 1.0})
    exposed = exposing.Exposed(bentos_own, "m", "3", counting.read(json.dumps(made.to_json()).encode()))
    body = (await asked(exposed, "/metrics"))[2].decode()
    samples = [s for family in text_string_to_metric_families(body) for s in family.samples]
    shown = {s.labels["feature"] for s in samples if s.name == exposing.FEATURES}
    assert len(shown) == exposing.SHOWN
    assert "f129" in shown
