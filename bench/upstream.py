"""Replicas that cost nothing: one tiny HTTP server per version, which writes down when each request arrived.

Run as a process of its own: `python -m bench.upstream --folder DIR --ports 1=9001 2=9002`. Speaks just enough HTTP/1.1 for
Envoy, so that its own few microseconds do not show in what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path

from bench.ledger import Ledger

HOST = "127.0.0.1"


def ledger(folder: Path, version: int) -> Ledger:
    return Ledger(folder / f"arrivals-v{version}")


class Replica(asyncio.Protocol):
    """One connection. Requests come one after another, each with a content-length or no body."""

    def __init__(self, version: int, arrivals: Ledger) -> None:
        body = b'{"predictions":[0.5],"version":%d}' % version
        self._answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        self._arrivals = arrivals
        self._transport: asyncio.Transport | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        assert self._transport is not None
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            whole = end + 4 + _body_bytes(self._buffer[:end])
            if len(self._buffer) < whole:
                return
            if self._buffer.startswith(b"POST"):
                self._arrivals.add(now)
            self._transport.write(self._answer)
            self._buffer = self._buffer[whole:]


def _body_bytes(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


async def serve(folder: Path, ports: dict[int, int]) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stopped.set)
    for version, port in ports.items():
        arrivals = ledger(folder, version)
        await loop.create_server(lambda version=version, arrivals=arrivals: Replica(version, arrivals), HOST, port)  # type: ignore[misc]  # a lambda's defaults have no types
    await stopped.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.upstream")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--ports", nargs="+", required=True, help="VERSION=PORT")
    options = parser.parse_args()
    pairs = (pair.split("=") for pair in options.ports)
    asyncio.run(serve(options.folder, {int(version): int(port) for version, port in pairs}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
