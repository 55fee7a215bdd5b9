"""A small model server to be measured by `measure_latency.py`: one scikit-learn model behind FastAPI, aiohttp or threads.

The environment says how it is disturbed (see `measure_latency.DISTURBANCES`) and where it listens (PORT).
"""

import asyncio
import gc
import json
import os
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from sklearn.ensemble import RandomForestRegressor

PORT = int(os.environ["PORT"])
SLOW_PART, SLOW_S = float(os.environ.get("SLOW_PART", "0")), float(os.environ.get("SLOW_S", "0"))
MISS_PART, MISS_CALLS = float(os.environ.get("MISS_PART", "0")), int(os.environ.get("MISS_CALLS", "0"))
LOOKUP_S, LOCK_S = float(os.environ.get("LOOKUP_S", "0")), float(os.environ.get("LOCK_S", "0"))
CALLS, PADDING = int(os.environ.get("CALLS", "1")), int(os.environ.get("PADDING", "0"))
GARBAGE, BACKGROUND = bool(os.environ.get("GARBAGE")), bool(os.environ.get("BACKGROUND"))
LOCK = threading.Lock()

_rng = np.random.default_rng(0)
MODEL = RandomForestRegressor(int(os.environ.get("TREES", "10")), n_jobs=None, random_state=0)
MODEL.fit(_rng.normal(size=(500, 12)), _rng.normal(size=500))
HOARD: list[object] = [{"at": number, "list": [number] * 3} for number in range(400_000)] if GARBAGE else []


def answer(body: bytes) -> tuple[bytes, float]:
    """The answer, and how long to wait before it is sent."""
    rows = np.array(json.loads(body)["rows"])
    calls = CALLS + (MISS_CALLS if random.random() < MISS_PART else 0)
    with LOCK:
        found = [MODEL.predict(rows).tolist() for _ in range(calls)][0]  # noqa: RUF015 - every call costs
    if GARBAGE and random.random() < 0.005:
        gc.collect()
    slow = SLOW_S if random.random() < SLOW_PART else 0.0
    slow += random.expovariate(1.0 / LOOKUP_S) if LOOKUP_S else 0.0
    return json.dumps({"predictions": found, "padding": "x" * PADDING}).encode(), slow


def hold_lock() -> None:
    while True:
        with LOCK:
            time.sleep(LOCK_S)
        time.sleep(LOCK_S * 49)


def work() -> None:
    """A tenth of a core, in pieces that fight for the interpreter's lock: a log shipper, a metrics exporter."""
    while True:
        json.dumps([random.random() for _ in range(3000)])
        time.sleep(0.03)


def fastapi_server() -> None:
    import uvicorn
    from fastapi import FastAPI, Request, Response
    from starlette.concurrency import run_in_threadpool

    app = FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        content, slow = await run_in_threadpool(answer, await request.body())
        if slow:
            await asyncio.sleep(slow)
        return Response(content, media_type="application/json")

    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")


def aiohttp_server() -> None:
    from aiohttp import web

    async def predict(request: web.Request) -> web.Response:
        content, slow = answer(await request.read())
        if slow:
            await asyncio.sleep(slow)
        return web.Response(body=content, content_type="application/json")

    app = web.Application()
    app.router.add_post("/predict", predict)
    web.run_app(app, host="127.0.0.1", port=PORT, print=None)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        content, slow = answer(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(slow)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Silent."""


def threads_server() -> None:
    ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()


if LOCK_S:
    threading.Thread(target=hold_lock, daemon=True).start()
if BACKGROUND:
    threading.Thread(target=work, daemon=True).start()
if __name__ == "__main__":
    {"fastapi": fastapi_server, "aiohttp": aiohttp_server, "threads": threads_server}[sys.argv[1]]()
