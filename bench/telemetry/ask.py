"""Asks as fast as it is answered, over a fixed number of connections: `python -m bench.telemetry.ask --path /m/predict --body F`.

A process of its own, told on its standard input whom to ask for how long: a line `PORT SECONDS` for each stretch. Its connections stay from one stretch to the next
one of the same port, so that short ones can alternate. For each it prints how many answers came in which time, and how many were not 200. It does as little as it can:
what it costs is not the server's.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from array import array
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import cast

import uvloop

OK = b"HTTP/1.1 200 "
DEADLINE_S = 60.0  # for the last answers of a stretch


class Stretch:
    """Full load until it is over. `idle` is set once the last of its connections has its answer."""

    def __init__(self, connections: int) -> None:
        self.answers = self.failed = 0
        self.over = False
        self.took = array("d")
        self._left = connections
        self.idle = asyncio.Event()

    def rest(self) -> None:
        self._left -= 1
        if not self._left:
            self.idle.set()


class Connection(asyncio.Protocol):
    """One request at a time. An answer has a content-length and comes whole or in parts."""

    def __init__(self, request: Callable[[], bytes]) -> None:
        self._request = request
        self._stretch: Stretch | None = None
        self._since = 0.0
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None  # None: closed

    @property
    def closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's are not derived from it

    def begin(self, stretch: Stretch) -> None:
        self._stretch = stretch
        self._ask()

    def _ask(self) -> None:
        assert self._transport is not None
        self._since = time.perf_counter()
        self._transport.write(self._request())

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
        stretch = self._stretch
        assert stretch is not None
        stretch.answers += 1
        stretch.failed += not self._buffer.startswith(OK)
        stretch.took.append(time.perf_counter() - self._since)
        self._buffer = b""
        if not stretch.over:
            self._ask()
            return
        self._stretch = None
        stretch.rest()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        if self._stretch is not None:  # in the middle of a request
            self._stretch.failed += 1
            self._stretch.rest()


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


class Asker:
    def __init__(self, request: Callable[[], bytes], connections: int) -> None:
        self._request = request
        self._connections = connections
        self._opened: dict[int, list[Connection]] = defaultdict(list)

    async def run(self, port: int, seconds: float) -> dict[str, float]:
        opened = self._opened[port] = [one for one in self._opened[port] if not one.closed]
        loop = asyncio.get_running_loop()
        while len(opened) < self._connections:
            opened.append((await loop.create_connection(lambda: Connection(self._request), "127.0.0.1", port))[1])
        stretch, began = Stretch(len(opened)), time.perf_counter()
        for one in opened:
            one.begin(stretch)
        await asyncio.sleep(seconds)
        stretch.over = True
        async with asyncio.timeout(DEADLINE_S):
            await stretch.idle.wait()
        took_s = time.perf_counter() - began
        p99_ms = 1000 * sorted(stretch.took)[len(stretch.took) * 99 // 100] if stretch.took else 0.0
        return {"answers": stretch.answers, "failed": stretch.failed, "seconds": took_s, "p99_ms": p99_ms}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.telemetry.ask")
    parser.add_argument("--path", required=True)
    parser.add_argument("--body", type=Path, required=True, help="file with the body of every request")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--ids", action="store_true", help="a request id and a trace context for each request")
    options = parser.parse_args()
    asker = Asker(requests(options.path, options.body.read_bytes(), ids=options.ids), options.connections)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:  # nothing happens between two stretches
            port, seconds = line.split()
            sys.stdout.write(json.dumps(runner.run(asker.run(int(port), float(seconds)))) + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
