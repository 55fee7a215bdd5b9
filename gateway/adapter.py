"""Envoy as the gateway port: publish routings over ADS, tell who confirmed them, read the counts.

Made by the composition root; called by the control plane's loop. Publish everything that was restored before `start`, so that
a gateway coming back never sees an empty world. Raises only `Refused` and `Unavailable`; stops nothing when it stops: the
gateways serve on with what they have.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

import aiohttp
from opentelemetry import trace

from judge.samples import Sample
from rollout import model, ports

from . import counts, snapshot
from .ads import AdsServer, Connection
from .settings import Settings

SYSTEM = "gateway"


class EnvoyGateway:
    """`on_change` is called in the event loop with a model's name whenever its acknowledgement may have changed. It must not block.
    `tracer`: what a traced publication leads to is told to it."""

    def __init__(
        self,
        *,
        ads_host: str,
        ads_port: int,
        settings: Settings,
        on_change: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
        tracer: trace.Tracer | None = None,
    ) -> None:
        self._settings = settings
        tracer = tracer or trace.NoOpTracer()
        self._ads = AdsServer(ads_host, ads_port, settings, on_change=on_change, monotonic=monotonic, tracer=tracer)
        self._http: aiohttp.ClientSession | None = None
        self._readers: WeakKeyDictionary[Connection, counts.Reader] = WeakKeyDictionary()  # as long as the stream lives

    async def start(self) -> None:
        """Listen for gateways. Raises Refused when the port is taken."""
        await self._ads.start()
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=counts.READ_S))

    async def stop(self) -> None:
        await self._ads.stop()
        if self._http is not None:
            http, self._http = self._http, None
            await http.close()

    def admins(self) -> dict[str, str]:
        """The connected gateways, each with the address of its admin interface ("" if it does not tell one)."""
        return {connection.node_id: connection.admin or "" for connection in self._ads.connections()}

    async def publish(self, routing: model.Routing) -> None:
        wanted = self._ads.wanted(routing.model)
        if wanted is not None and wanted.bundle.routing == routing:
            return
        try:
            bundle = snapshot.bundle(routing, self._settings)
        except model.Invalid as error:
            raise ports.Refused(SYSTEM, str(error)) from error
        self._ads.want(bundle)

    async def withdraw(self, model_name: str) -> None:
        self._ads.forget(model_name)

    async def state(self, model_name: str) -> model.GatewayState:
        wanted, connections = self._ads.wanted(model_name), self._ads.connections()
        nodes = []
        for connection in connections:
            if wanted is not None:
                ack, detail = connection.session.ack(wanted.bundle)
            else:
                ack, detail = (model.Ack.YES if connection.session.gone(model_name) else model.Ack.NOT_YET), ""
            nodes.append(model.GatewayNode(connection.node_id, ack, detail))
        return model.GatewayState(
            ack=summary(nodes),
            nodes=tuple(nodes),
            published=wanted.bundle.routing if wanted is not None else None,
            acked=_acked(model_name, connections),
        )

    async def samples(self, model_name: str) -> tuple[Sample, ...]:
        connections = self._ads.connections()
        if not connections or self._http is None:
            raise ports.Unavailable(SYSTEM, "no gateway is connected")
        readings = await asyncio.gather(*(self._read(connection, self._http, model_name) for connection in connections))
        return tuple(sample for reading in readings for sample in reading)

    async def _read(self, connection: Connection, http: aiohttp.ClientSession, model_name: str) -> tuple[Sample, ...]:
        node_id, admin = connection.node_id, connection.admin
        if admin is None:
            raise ports.Unavailable(SYSTEM, f"gateway {node_id} does not tell its admin address in node.metadata")
        reader = self._readers.setdefault(connection, counts.Reader(http, node_id, admin))
        try:
            return await reader.samples(model_name)
        except counts.Unreadable as error:
            raise ports.Unavailable(SYSTEM, f"gateway {node_id} cannot be read at {admin}: {error}") from error


def summary(nodes: list[model.GatewayNode]) -> model.Ack:
    """One answer for all nodes: refused if any refused, yes only if all said yes."""
    acks = {node.ack for node in nodes}
    if not acks:
        return model.Ack.AWAY
    if model.Ack.REFUSED in acks:
        return model.Ack.REFUSED
    return model.Ack.YES if acks == {model.Ack.YES} else model.Ack.NOT_YET


def _acked(model_name: str, connections: tuple[Connection, ...]) -> model.Routing | None:
    """The oldest of what the gateways confirmed last: every one of them has run it or something newer."""
    confirmed = [connection.confirmed.get(model_name) for connection in connections]
    known = [wanted for wanted in confirmed if wanted is not None]
    if not known or len(known) < len(confirmed):
        return None
    return min(known, key=lambda wanted: wanted.number).bundle.routing
