"""Takes spans, as a collector elsewhere would: `python -m bench.telemetry.sink --port P`.

A process of its own, so that its work is nobody's on the way of a request. Prints what it took when it is told to stop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections import Counter

from aiohttp import web


class Sink:
    def __init__(self) -> None:
        self.took: Counter[str] = Counter()

    async def spans(self, request: web.Request) -> web.Response:
        self.took["posts"] += 1
        self.took["post_bytes"] += len(await request.read())
        return web.Response(body=b"", content_type="application/x-protobuf")


async def run(port: int) -> Counter[str]:
    sink, stopping = Sink(), asyncio.Event()
    app = web.Application()
    app.router.add_post("/v1/traces", sink.spans)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await stopping.wait()
    await runner.cleanup()
    return sink.took


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.telemetry.sink")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    took = asyncio.run(run(options.port))
    sys.stdout.write(json.dumps(took) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
