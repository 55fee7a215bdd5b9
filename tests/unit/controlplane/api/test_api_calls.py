"""Every request to the API has an id: in its answer, and in the line that tells of it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from controlplane.api.calls import Calls
from monitoring import jsonlines, logs

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """What is logged, as it is written."""
    found: list[dict[str, Any]] = []
    formatter = jsonlines.JsonLines("test", logs.ids)

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(json.loads(formatter.format(record)))

    handler, log = Kept(), logging.getLogger("controlplane.api.calls")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield found
    log.removeHandler(handler)
    log.setLevel(level)


@pytest.fixture
async def api() -> AsyncIterator[httpx.AsyncClient]:
    async def ids(_: Request) -> PlainTextResponse:
        return PlainTextResponse(json.dumps(dict(logs.ids())))

    app = Starlette(routes=[Route("/things", ids, methods=["GET", "POST"])])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(Calls(app)), base_url="http://api") as client:
        yield client


async def test_a_callers_id_and_trace_are_kept(api: httpx.AsyncClient, lines: list[dict[str, Any]]) -> None:
    headers = {"x-request-id": "mine-1", "traceparent": f"00-{TRACE}-b7ad6b7169203331-00"}
    answer = await api.post("/things", headers=headers)
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.json() == {"request_id": "mine-1", "trace_id": TRACE}
    (line,) = lines
    assert (line["request_id"], line["trace_id"]) == ("mine-1", TRACE)
    assert (line["method"], line["path"], line["code"], line["message"]) == ("POST", "/things", 200, "POST /things 200")


@pytest.mark.parametrize("own", ["", "two words", "x" * 129, "line\tbreak"])
async def test_what_is_no_id_gets_a_new_one(own: str, api: httpx.AsyncClient) -> None:
    answer = await api.get("/things", headers={"x-request-id": own, "traceparent": "garbage"})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert answer.json() == {"request_id": answer.headers["x-request-id"]}


async def test_only_what_may_change_something_is_written_down(api: httpx.AsyncClient, lines: list[dict[str, Any]]) -> None:
    await api.get("/things")
    assert (await api.delete("/things")).status_code == 405
    assert [(line["method"], line["code"]) for line in lines] == [("DELETE", 405)]


async def test_the_ids_end_with_the_request(api: httpx.AsyncClient) -> None:
    await api.post("/things")
    assert logs.ids() == {}
