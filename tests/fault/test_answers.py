"""Replicas that lie, hang, or are from another time, when they are asked what they answered: unknown, in time, and said why."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from monitoring.answers import MOST_BYTES, HttpAnswers, parsed
from rollout import ports

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def replica(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/counts/answers", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        assert site._server is not None
        yield f"127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]  # asyncio's server has sockets
    finally:
        await runner.cleanup()


async def asked(handler: Handler, read_s: float = 5.0) -> str:
    port = HttpAnswers(read_s=read_s)
    try:
        async with replica(handler) as address:
            with pytest.raises(ports.Unavailable) as refused:
                await port.samples({1: [address], 2: [address]})
    finally:
        await port.close()
    return str(refused.value)


async def hangs(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError


async def dribbles(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    with contextlib.suppress(ConnectionError):
        for _ in range(600):
            await answer.write(b" ")
            await asyncio.sleep(0.1)
    return answer


async def floods(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    with contextlib.suppress(ConnectionError):
        for _ in range(2 * MOST_BYTES // 65536):
            await answer.write(b" " * 65536)
    return answer


async def sends_elsewhere(_: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"location": "http://127.0.0.1:1/"})


async def is_old(_: web.Request) -> web.StreamResponse:
    return web.Response(status=404)


@pytest.mark.parametrize("handler", [hangs, dribbles])
async def test_a_replica_that_hangs_is_not_waited_for(handler: Handler) -> None:
    began = time.monotonic()
    assert "did not answer within 0.2 s" in await asked(handler, read_s=0.2)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("handler", "words"),
    [(floods, "answered more than"), (sends_elsewhere, "answered 302"), (is_old, "packaged before answers were counted")],
)
async def test_what_is_no_answer_is_said(handler: Handler, words: str) -> None:
    assert words in await asked(handler)


GOOD: dict[str, Any] = {"format": 1, "process": "p", "unread": 0, "epochs": {"1": {"scores": [[0.5, 2]], "classes": []}}}


@pytest.mark.parametrize(
    "said",
    [
        "{",
        "[]",
        "null",
        json.dumps({**GOOD, "format": 9}),
        json.dumps({**GOOD, "epochs": {"x": {"scores": [], "classes": []}}}),
        json.dumps({**GOOD, "epochs": {"1": {"scores": [[0.5, -1]], "classes": []}}}),
        json.dumps({**GOOD, "epochs": {"1": {"scores": [[0.5, 1.5]], "classes": []}}}),
        json.dumps({**GOOD, "epochs": {"1": {"scores": [["half", 1]], "classes": []}}}),
        json.dumps({**GOOD, "epochs": {"1": {"scores": [[0.5]], "classes": []}}}),
        json.dumps({**GOOD, "epochs": {"1": {"classes": []}}}),
        json.dumps({**GOOD, "unread": "many"}),
        json.dumps({**GOOD, "epochs": 3}),
    ],
)
async def test_garbage_is_unknown(said: str) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=said)

    assert "does not say what it answered" in await asked(answer)


def test_bins_that_are_the_same_are_added() -> None:
    many = {**GOOD, "epochs": {"1": {"scores": [[0.5, 2], [0.5001, 1]], "classes": [["x" * 900, 1]]}}}
    assert sorted(count for _, count in parsed(many).epochs[1]) == [1, 3]
