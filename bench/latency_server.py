"""A small model server to be measured by `measure_latency.py`: one scikit-learn model behind uvicorn, aiohttp or threads.

The environment says how it is disturbed (SLOW_PART, SLOW_S, TREES, CALLS, GARBAGE, LOCK_S, PADDING) and where it listens (PORT).
"""

from __future__ import annotations

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
CALLS, GARBAGE = int(os.environ.get("CALLS", "1")), bool(os.environ.get("GARBAGE"))
LOCK_S, PADDING = float(os.environ.get("LOCK_S", "0")), int(os.environ.get("PADDING", "0"))
LOCK = threading.Lock()

_rng = np.random.default_rng(0)
MODEL = RandomForestRegressor(int(os.environ.get("TREES", "10")), n_jobs=None, random_state=0)
MODEL.fit(_rng.normal(size=(500, 12)), _rng.normal(size=500))
HOARD: list[object] = [{"at": number, "list": [number] * 3} for number in range(400_000)] if GARBAGE else []


def answer(body: bytes) -> tuple[bytes, float]:
    """The answer, and how long to wait before it is sent."""
    rows = np.array(json.loads(body)["rows"])
    with LOCK:
        found = [MODEL.predict(rows).tolist() for _ in range(CALLS)][-1]
    if GARBAGE and random.random() < 0.005:
        gc.collect()
    slow = SLOW_S if random.random() < SLOW_PART else 0.0
    return json.dumps({"predictions": found, "padding": "x" * PADDING}).encode(), slow


def hold_lock() -> None:
    while True:
        with LOCK:
            time.sleep(LOCK_S)
        time.sleep(LOCK_S * 49)


def uvicorn_server() -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def predict(request: Request) -> Response:
        content, slow = await run_in_threadpool(answer, await request.body())
        if slow:
            await asyncio.sleep(slow)
        return Response(content, media_type="application/json")

    app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
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


if __name__ == "__main__":
    if LOCK_S:
        threading.Thread(target=hold_lock, daemon=True).start()
    {"uvicorn": uvicorn_server, "aiohttp": aiohttp_server, "threads": threads_server}[sys.argv[1]]()
