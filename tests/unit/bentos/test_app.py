"""The ASGI app, called in memory: statuses, headers, limits, deadlines; whatever it is not for goes to BentoML's app."""

import asyncio
import json
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from bentos.mlflow_model.scoring import app, predictor, signature

SIGNATURE = signature.parse({"inputs": json.dumps([{"type": "double", "name": "x", "required": True}])})
JSON = [(b"content-type", b"application/json; charset=utf-8")]
ROW = {"instances": [{"x": 2.0}]}


class Answer:
    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    def json(self) -> Any:
        return json.loads(self.body)


async def bentoml(scope: app.Scope, receive: app.Receive, send: app.Send) -> None:
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"from BentoML"})


def double(data: Any, params: Mapping[str, Any]) -> Any:
    return np.asarray(data["x"]) * 2


def served(call: predictor.Predict = double, **limits: Any) -> app.App:
    made = app.App(bentoml, app.Identity("toy", "7"), app.Limits(**limits), lambda *_: None)
    made.serve(predictor.Predictor(SIGNATURE, call, {"instances": [{"x": 1.0}]}))
    return made


async def ask(
    served_app: app.App,
    body: bytes | dict[str, Any] | list[bytes] = b"",
    *,
    path: str = "/predict",
    method: str = "POST",
    headers: list[tuple[bytes, bytes]] | None = None,
) -> Answer:
    parts = body if isinstance(body, list) else [json.dumps(body).encode() if isinstance(body, dict) else body]
    messages = [{"type": "http.request", "body": part, "more_body": i + 1 < len(parts)} for i, part in enumerate(parts)]
    answer = Answer()

    async def receive() -> app.Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: app.Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message["body"]

    scope = {"type": "http", "path": path, "method": method, "headers": JSON if headers is None else headers}
    await served_app(scope, receive, send)
    return answer


@pytest.mark.parametrize("path", ["/predict", "/invocations"])
async def test_predictions(path: str) -> None:
    answer = await ask(served(), ROW, path=path, headers=[*JSON, (b"x-request-id", b"abc-1")])
    assert (answer.status, answer.json()) == (200, {"predictions": [4.0]})
    assert answer.headers["x-model"] == "toy"
    assert answer.headers["x-model-version"] == "7"
    assert answer.headers["x-request-id"] == "abc-1"


async def test_answers_along_the_split_are_told_with_their_epoch() -> None:
    """Not those that a tester asked of this version, and none that failed."""
    told: list[tuple[bytes, list[float]]] = []
    made = app.App(
        bentoml,
        app.Identity("toy", "7"),
        app.Limits(),
        lambda *_: None,
        split=lambda epoch, answer: told.append((epoch, answer.tolist())),
    )
    made.serve(predictor.Predictor(SIGNATURE, double, {}))
    epoch = [*JSON, (b"x-slipway-epoch", b"12")]
    await ask(made, ROW, headers=epoch)
    await ask(made, ROW)
    await ask(made, {"instances": [{"x": "no"}]}, headers=epoch)
    assert told == [(b"12", [4.0])]


async def test_schema() -> None:
    answer = (await ask(served(), path="/schema", method="GET")).json()
    assert answer["inputs"] == [{"type": "double", "name": "x", "required": True}]
    assert answer["example"] == {"instances": [{"x": 1.0}]}


async def test_everything_else_is_bentomls() -> None:
    assert (await ask(served(), path="/livez", method="GET")).body == b"from BentoML"


@pytest.mark.parametrize(
    ("body", "change", "status", "kind"),
    [
        (b"{", {}, 400, "malformed-json"),
        (b"", {}, 400, "malformed-json"),
        (b'{"instances": [{"x": NaN}]}', {}, 400, "malformed-json"),
        (b'{"instances": [{"x": 1e999}]}', {}, 400, "malformed-json"),
        (b"[" * 3000, {}, 400, "malformed-json"),
        (b"\xff\xfe", {}, 400, "malformed-json"),
        (b"{}", {}, 422, "invalid-input"),
        (ROW, {"method": "GET"}, 405, "method-not-allowed"),
        (ROW, {"path": "/schema"}, 405, "method-not-allowed"),
        (ROW, {"headers": []}, 415, "unsupported-media-type"),
        (ROW, {"headers": [(b"content-type", b"text/csv")]}, 415, "unsupported-media-type"),
        (b"", {"headers": [*JSON, (b"content-length", b"9000000")]}, 413, "body-too-large"),
        ([b" " * 600, b" " * 600, b"never read"], {}, 413, "body-too-large"),
    ],
)
async def test_bad_requests(body: Any, change: dict[str, Any], status: int, kind: str) -> None:
    answer = await ask(served(body_bytes=1000 if status == 413 else 10_000), body, **change)
    assert (answer.status, answer.json()["status"]) == (status, status)
    assert answer.json()["type"].endswith("/" + kind)
    assert answer.headers["content-type"] == "application/problem+json"
    assert ("allow" in answer.headers) == (status == 405)


async def test_the_models_own_exception(caplog: pytest.LogCaptureFixture) -> None:
    def broken(data: Any, params: Mapping[str, Any]) -> Any:
        raise TimeoutError("no weather in row 0, secret=7")

    answer = await ask(served(broken), ROW, headers=[*JSON, (b"x-request-id", b"r-9")])
    assert answer.status == 500
    assert answer.json()["type"].endswith("/model-error")
    assert answer.json()["request_id"] == "r-9"
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
    assert [record.__dict__["request_id"] for record in caplog.records] == ["r-9"]
    assert "no weather" in caplog.text


async def test_unwritable_predictions_are_the_models_fault() -> None:
    assert (await ask(served(lambda data, params: {object()}), ROW)).status == 500


async def test_deadline_queue_and_health() -> None:
    release = threading.Event()

    def stuck(data: Any, params: Mapping[str, Any]) -> Any:
        release.wait(10)
        return [1.0]

    slow = served(stuck, deadline_s=0.05, waiting=1)
    try:
        first = asyncio.create_task(ask(slow, ROW))
        await asyncio.sleep(0)
        refused = await ask(slow, ROW)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert (await ask(slow, path="/livez", method="GET")).status == 299  # health is answered while the model works
        late = await first
        assert late.status == 504
        assert late.json()["type"].endswith("/deadline-exceeded")
        async with asyncio.timeout(5):
            while slow.responsive:  # the model was called a moment after the request arrived
                await asyncio.sleep(0.005)
    finally:
        release.set()


async def test_not_loaded_yet() -> None:
    empty = app.App(bentoml, app.Identity("toy", "7"), app.Limits(), lambda *_: None)
    assert (await ask(empty, ROW)).status == 503


@pytest.mark.parametrize("given", [b"x" * 129, b"a\x01b", "é".encode()])
async def test_odd_request_ids_are_not_echoed(given: bytes) -> None:
    answer = await ask(served(), ROW, headers=[*JSON, (b"x-request-id", given)])
    assert answer.status == 200
    assert "x-request-id" not in answer.headers
