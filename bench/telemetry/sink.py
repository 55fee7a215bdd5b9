"""Takes spans and scrapes metrics, as a collector and a Prometheus elsewhere would: `python -m bench.telemetry.sink --port P`.

A process of its own, so that its work is nobody's on the way of a request. Prints what it took when it is told to stop.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections import Counter

import aiohttp
from aiohttp import web

ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"  # as Prometheus asks


class Sink:
    def __init__(self) -> None:
        self.took: Counter[str] = Counter()

    async def spans(self, request: web.Request) -> web.Response:
        self.took["posts"] += 1
        self.took["post_bytes"] += len(await request.read())
        return web.Response(body=b"", content_type="application/x-protobuf")

    async def scrape(self, urls: list[str], every_s: float) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=every_s)) as http:
            while True:
                for url in urls:
                    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                        async with http.get(url, headers={"Accept": ACCEPT}) as answer:
                            self.took["scrapes"] += 1
                            self.took["scraped_bytes"] += len(await answer.read())
                await asyncio.sleep(every_s)


async def run(port: int, urls: list[str], every_s: float) -> Counter[str]:
    sink, stopping = Sink(), asyncio.Event()
    app = web.Application()
    app.router.add_post("/v1/traces", sink.spans)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    scraping = asyncio.create_task(sink.scrape(urls, every_s))
    await stopping.wait()
    scraping.cancel()
    await runner.cleanup()
    return sink.took


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.telemetry.sink")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--scrape", nargs="*", default=[])
    parser.add_argument("--every-s", type=float, default=5.0)
    options = parser.parse_args()
    took = asyncio.run(run(options.port, options.scrape, options.every_s))
    sys.stdout.write(json.dumps(took) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
