"""The control plane under test: the real API, loop, store and gateway, over a registry in memory and replicas that are there.

Run as a process of its own: `python -m bench.plane ...`. The composition is that of `controlplane.main`, with a watch on the
store and the gateway, and a few addresses below /bench to read them by.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import uvicorn

from bench import probe
from bench.marks import Marks, TimedGateway, TimedPasses, TimedStore
from bench.replicas import Replicas
from controlplane.api import app as api
from controlplane.api import services
from controlplane.broadcast import Broadcast
from controlplane.clock import SteadyClock
from controlplane.history import History
from controlplane.loop import Loop
from controlplane.observe import Ports
from controlplane.store import memory_past
from controlplane.traffic import TrafficMeter
from gateway import settings as gateway_settings
from monitoring import logs
from registry import memory as registries

HOST = "127.0.0.1"
VERSIONS = 2


def names(models: int) -> list[str]:
    return [f"model-{number:03}" for number in range(1, models + 1)]


@asynccontextmanager
async def running(options: argparse.Namespace) -> AsyncIterator[tuple[services.Services, probe.Probe]]:
    marks, clock, changes, meter = Marks(), SteadyClock(), Broadcast(), TrafficMeter()

    def nudge(model_name: str) -> None:
        loop.nudge(model_name)

    def acked(model_name: str) -> None:
        gateway.changed(model_name)
        loop.nudge(model_name)

    async with AsyncExitStack() as stack:
        store = await TimedStore.open(f"sqlite:///{options.state_dir / 'slipway.db'}")
        store.marks = marks
        stack.push_async_callback(store.close)
        registry = registries.MemoryRegistry(clock)
        stack.push_async_callback(registry.close)
        for name in names(options.models):
            for _ in range(VERSIONS):
                registry.add(name)
        replicas = Replicas(dict(enumerate((f"{HOST}:{port}" for port in options.upstreams), 1)), nudge)
        gateway = TimedGateway(
            marks,
            ads_host=HOST,
            ads_port=options.xds_port,
            settings=gateway_settings.Settings(port=options.ingress_port),
            on_change=acked,
        )
        outside = Ports(store, registry, gateway, replicas)
        passes = TimedPasses(
            outside,
            clock=clock,
            changes=changes,
            meter=meter,
            history=History(memory_past.MemoryPast()),
            tick_s=1.0,
            observe_timeout_s=2.0,
            drain_s=10.0,
        )
        loop = Loop(outside, passes)
        await loop.restore()
        await gateway.start()
        stack.push_async_callback(gateway.stop)
        await loop.startup()
        stack.push_async_callback(loop.shutdown, 5.0)
        parts = services.Services(
            store=store,
            registry=registry,
            gateway=gateway,
            runtime=replicas,
            wake=loop.wake,
            clock=clock,
            new_id=lambda: f"r-{secrets.token_hex(5)}",
            traffic=meter.traffic,
            latency=meter.latency,
            changes=changes,
            version="bench",
        )
        yield parts, probe.Probe(loop, passes, gateway, marks, clock, options.ingress_port)


async def serve(options: argparse.Namespace) -> None:
    async with running(options) as (parts, probes):
        app = api.create_app(parts)
        app.include_router(probe.router)
        app.state.probe = probes
        gc.collect()  # as controlplane.main does
        gc.freeze()
        await uvicorn.Server(uvicorn.Config(app, host=HOST, port=options.api_port, log_config=None)).serve()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.plane")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--models", type=int, default=1)
    parser.add_argument("--upstreams", type=int, nargs=VERSIONS, required=True, help="port of each version")
    for name in ("api", "xds", "ingress"):
        parser.add_argument(f"--{name}-port", type=int, required=True)
    logs.configure("INFO", "slipway-bench")
    asyncio.run(serve(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
