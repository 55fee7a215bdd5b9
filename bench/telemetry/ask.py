"""Asks as fast as it is answered, over a fixed number of connections: `python -m bench.telemetry.ask --port P --path /m/predict --body F`.

A process of its own; prints how many answers came in which time, how many there were in `all`, and how many were not 200. It does as little as it can: what it
costs is not the server's.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import cast

import uvloop

OK = b"HTTP/1.1 200 "


class Connection(asyncio.Protocol):
    """One request at a time. An answer has a content-length and comes whole or in parts."""

    def __init__(self, request: Callable[[], bytes], counts: list[int], took: array[float]) -> None:
        self._request = request
        self._counts = counts  # answers, other answers than 200
        self._took = took
        self._since = 0.0
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's are not derived from it
        self._ask(self._transport)

    def _ask(self, transport: asyncio.WriteTransport) -> None:
        self._since = time.perf_counter()
        transport.write(self._request())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.index(b"content-length: ") + 16
        length = int(head[at:].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + length:
            return
        self._counts[0] += 1
        self._counts[1] += not self._buffer.startswith(OK)
        self._buffer = b""
        assert self._transport is not None
        self._took.append(time.perf_counter() - self._since)
        self._ask(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._counts[1] += 1


def requests(path: str, body: bytes, *, ids: bool) -> Callable[[], bytes]:
    """ids: each has a request id and a trace context of its own, as through a gateway."""
    head = f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n".encode()
    if not ids:
        same = head + b"\r\n" + body
        return lambda: same
    pattern = head + b"x-request-id: %032x\r\ntraceparent: 00-%032x-00f067aa0ba902b7-00\r\n\r\n"
    numbers = itertools.count(time.time_ns())

    def own() -> bytes:
        number = next(numbers)
        return pattern % (number, number) + body

    return own


async def run(port: int, request: Callable[[], bytes], connections: int, seconds: float) -> dict[str, float]:
    counts, took = [0, 0], array("d")
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Connection(request, counts, took), "127.0.0.1", port) for _ in range(connections)
    ]
    await asyncio.sleep(0.2)  # connections to the replica are there now
    begin, before = time.perf_counter(), counts[0]
    await asyncio.sleep(seconds)
    answers, took_s = counts[0] - before, time.perf_counter() - begin
    for transport, _ in opened:
        transport.abort()
    p99_ms = 1000 * sorted(took)[len(took) * 99 // 100]
    return {"answers": answers, "failed": counts[1], "seconds": took_s, "all": counts[0], "p99_ms": p99_ms}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.telemetry.ask")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--body", type=Path, required=True, help="file with the body of every request")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--ids", action="store_true", help="a request id and a trace context for each request")
    options = parser.parse_args()
    request = requests(options.path, options.body.read_bytes(), ids=options.ids)
    told = uvloop.run(run(options.port, request, options.connections, options.seconds))
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
