"""Whose failure was it, and do the sums add up."""

from __future__ import annotations

import json

import pytest

from pipelines.tally import Outcome, Record, Tally, classify

MODEL_ERROR = b'{"type": "https://example/problems/model-error", "title": "x"}'


@pytest.mark.parametrize(
    ("status", "version", "body", "expected"),
    [
        (200, 1, b"", Outcome.OK),
        (500, 3, MODEL_ERROR, Outcome.MODEL_ERROR),
        (500, None, MODEL_ERROR, Outcome.GATEWAY),
        (500, 3, b"oops", Outcome.GATEWAY),
        (500, 3, b'{"type": "about:blank"}', Outcome.GATEWAY),
        (500, 3, b"[]", Outcome.GATEWAY),
        (422, 3, b"", Outcome.CLIENT_ERROR),
        (404, None, b"", Outcome.GATEWAY),
        (503, 3, MODEL_ERROR, Outcome.GATEWAY),
        (504, None, b"", Outcome.GATEWAY),
        (301, None, b"", Outcome.GATEWAY),
    ],
)
def test_classes(status: int, version: int | None, body: bytes, expected: Outcome) -> None:
    assert classify(status, version, body) is expected


def test_sums_per_version_and_of_failures() -> None:
    tally = Tally()
    tally.add(Record(100.0, 5.0, 200, 1, Outcome.OK))
    tally.add(Record(101.0, 7.0, 500, 2, Outcome.MODEL_ERROR, "500 id"))
    tally.add(Record(102.0, 2000.0, 0, None, Outcome.GATEWAY, "ServerDisconnectedError"))
    tally.add(Record(103.0, 0.0, 0, None, Outcome.UNSENT))
    found = tally.to_json()
    assert found["sent"] == 3
    assert found["outcomes"] == {"ok": 1, "model_error": 1, "client_error": 0, "gateway_or_transport": 1, "unsent": 1}
    assert found["failures"] == {"ServerDisconnectedError": 1}
    assert found["versions"]["2"]["outcomes"] == {"model_error": 1}
    assert found["versions"]["2"]["last_answer_at"] == pytest.approx(101.007)
    assert found["latency_ms"]["max"] == 2000.0
    json.dumps(found, allow_nan=False)


def test_quantiles_are_at_most_one_percent_high() -> None:
    tally = Tally()
    for number in range(1, 1001):
        tally.add(Record(0.0, number / 10, 200, 1, Outcome.OK))
    for share, true in ((0.5, 50.0), (0.99, 99.0), (1.0, 100.0)):
        (got,) = tally.quantiles_ms((share,))
        assert true <= got + 1e-9 <= true * 1.011


def test_nothing_yet_is_no_error() -> None:
    assert Tally().to_json()["latency_ms"] == {}


def test_lines_are_compact_json() -> None:
    record = Record(1.23456789, 2.34567, 200, 4, Outcome.OK)
    assert record.line() == '{"at":1.234568,"ms":2.346,"status":200,"version":4,"outcome":"ok"}'
