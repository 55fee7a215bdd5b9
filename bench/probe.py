"""Addresses below /bench in the process of the control plane under test: its clock and marks, and two measurements inside it.

Mounted by `plane`, asked by the benchmarks. The measurements stop the loop first, so that nothing else is counted with them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request

from bench.marks import Marks
from controlplane.loop import Loop
from controlplane.passes import Passes
from gateway import adapter as gateways
from rollout import model

DEADLINE_S = 5.0

router = APIRouter(prefix="/bench", tags=["bench"])


@dataclass(frozen=True, slots=True)
class Probe:
    """The parts that are measured."""

    loop: Loop
    passes: Passes
    gateway: gateways.EnvoyGateway
    marks: Marks
    clock: Callable[[], datetime]
    ingress_port: int


@router.get("/marks")
async def marks(request: Request) -> dict[str, Any]:
    """All so far. `offset_s`: what to take off the control plane's wall time to get monotonic seconds."""
    probe: Probe = request.app.state.probe
    return {"offset_s": probe.clock().timestamp() - time.monotonic(), "marks": [mark._asdict() for mark in probe.marks.all]}


@router.post("/passes")
async def passes(request: Request, rounds: int) -> dict[str, Any]:
    """CPU and wall seconds of one pass over all models, one after another, `rounds` times. All threads count."""
    probe: Probe = request.app.state.probe
    await probe.loop.shutdown(DEADLINE_S)
    names = sorted({mark.model for mark in probe.marks.all if mark.what == "store.current"})
    cpu_s, wall_s = [], []
    for _ in range(rounds):
        cpu, wall = time.process_time(), time.monotonic()
        for name in names:
            await probe.passes.run(name, asyncio.Event())
        cpu_s.append(time.process_time() - cpu)
        wall_s.append(time.monotonic() - wall)
    return {"models": len(names), "cpu_s": cpu_s, "wall_s": wall_s}


@router.post("/weights")
async def weights(request: Request, model_name: str, changes: int) -> dict[str, Any]:
    """Milliseconds from a publication that turns all traffic of one model around, until Envoy has confirmed it and until
    the first request that is answered by the other version was sent; and CPU seconds of all changes."""
    probe: Probe = request.app.state.probe
    await probe.loop.shutdown(DEADLINE_S)
    state = await probe.gateway.state(model_name)
    assert state.published is not None
    routing = state.published
    versions = [version for version, _ in routing.endpoints]
    reader, writer = await asyncio.open_connection("127.0.0.1", probe.ingress_port)
    acked_ms, effective_ms, cpu = [], [], time.process_time()
    for number in range(changes):
        version = versions[number % len(versions)]
        routing = model.Routing(model_name, model.Split.of({version: 100}), routing.epoch + 1, routing.endpoints)
        known, begin = len(probe.marks.all), time.monotonic()
        await probe.gateway.publish(routing)
        async with asyncio.timeout(DEADLINE_S):
            sent = await _first_answer(reader, writer, model_name, version)
            while not (confirmed := [mark for mark in probe.marks.all[known:] if mark.what == "gateway.acked"]):  # noqa: ASYNC110  a benchmark may look
                await asyncio.sleep(0.001)
        effective_ms.append((sent - begin) * 1000)
        acked_ms.append((confirmed[0].begin - begin) * 1000)
    writer.close()
    return {"acked_ms": acked_ms, "effective_ms": effective_ms, "cpu_s": time.process_time() - cpu}


async def _first_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, model_name: str, version: int) -> float:
    """Asks again and again, one at a time; when the first request that this version answered was sent."""
    request = f"POST /{model_name}/predict HTTP/1.1\r\nhost: bench\r\ncontent-length: 2\r\n\r\n{{}}".encode()
    wanted = f"x-model-version: {version}\r\n".encode()
    while True:
        sent = time.monotonic()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        if wanted in head:
            return sent
