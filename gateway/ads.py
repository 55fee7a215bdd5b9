"""The ADS server: one gRPC stream per gateway node, each driven by a `session.Session`.

Owned by `adapter.py`. Holds what is wanted of every model and who is connected; decides nothing about resources or their order,
and never waits for one gateway on behalf of another.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from envoy.service.discovery.v3 import discovery_pb2
from opentelemetry import trace

from rollout import model, ports

from . import snapshot
from .pushes import Pushes
from .session import Session, Wanted
from .settings import Settings
from .snapshot import Bundle

_SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_FIRST_WORDS_S = 10.0  # a stream that says nothing for so long is closed
_STOP_S = 0.2  # streams never end by themselves, so there is nothing to wait for
_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a second server on the port must fail, not share it
    # a frozen or vanished gateway is noticed within about 8 s
    ("grpc.keepalive_time_ms", 4000),
    ("grpc.http2.ping_timeout_ms", 4000),  # grpc.keepalive_timeout_ms has no effect in gRPC 1.85, and this is 60 s by default
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
)


class Connection:
    """One connected gateway node. `admin` is the address of its admin interface as the node itself told it."""

    def __init__(self, node_id: str, admin: str | None, session: Session) -> None:
        self.node_id = node_id
        self.admin = admin
        self.session = session
        self.wake = asyncio.Event()
        self.closed = False
        self.confirmed: dict[str, Wanted] = {}  # last routing of each model that this node ran completely
        self.acks: dict[str, model.Ack] = {}
        self.unsettled: set[str] = set()

    def settle(self, wanted: dict[str, Wanted]) -> list[str]:
        """Look again at the models that were not confirmed; the names of those whose answer changed."""
        changed = []
        for name in sorted(self.unsettled):
            if name not in wanted:
                ack = model.Ack.YES if self.session.gone(name) else model.Ack.NOT_YET
            else:
                ack = self._look(name, wanted[name])
            if ack is model.Ack.YES:
                self.unsettled.discard(name)
            if self.acks.get(name) is not ack:
                changed.append(name)
            self.acks[name] = ack
            if name not in wanted and ack is model.Ack.YES:
                del self.acks[name]
                self.confirmed.pop(name, None)
        return changed

    def _look(self, name: str, wanted: Wanted) -> model.Ack:
        ack, _ = self.session.ack(wanted.bundle)
        if ack is model.Ack.YES:
            self.confirmed[name] = wanted
        elif wanted.fallback is not None and self.session.ack(wanted.fallback.bundle)[0] is model.Ack.YES:
            self.confirmed[name] = wanted.fallback
        return ack


class AdsServer:
    def __init__(
        self,
        host: str,
        port: int,
        settings: Settings,
        *,
        on_change: Callable[[str], None],
        monotonic: Callable[[], float],
        tracer: trace.Tracer,
    ) -> None:
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._settings = settings
        self._on_change = on_change
        self._monotonic = monotonic
        self._pushes = Pushes(tracer)
        self._wanted: dict[str, Wanted] = {}
        self._good: dict[str, Wanted] = {}
        self._published = 0
        self._connections: dict[str, Connection] = {}
        self._server: Any = None  # grpc.aio publishes no types

    # --- life

    async def start(self) -> None:
        handler = grpc.stream_stream_rpc_method_handler(
            self._stream,
            request_deserializer=discovery_pb2.DiscoveryRequest.FromString,
            response_serializer=discovery_pb2.DiscoveryResponse.SerializeToString,
        )
        server = grpc.aio.server(options=_OPTIONS)
        methods = {"StreamAggregatedResources": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, methods),))
        try:
            server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise ports.Refused(
                "gateway", f"cannot listen for gateways on {self._address}: is the port taken? ({error})"
            ) from error
        await server.start()
        self._server = server

    async def stop(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(_STOP_S)

    # --- what is wanted

    def want(self, bundle: Bundle) -> None:
        name = bundle.routing.model
        self._published += 1
        self._wanted[name] = Wanted(bundle, self._published, self._good.get(name))
        self._pushes.begin(name, self._connections, bundle.routing.epoch)
        self._changed(name)

    def forget(self, name: str) -> None:
        if self._wanted.pop(name, None) is not None:
            self._good.pop(name, None)
            self._pushes.begin(name, self._connections, None)
            self._changed(name)

    def wanted(self, name: str) -> Wanted | None:
        return self._wanted.get(name)

    def connections(self) -> tuple[Connection, ...]:
        return tuple(connection for _, connection in sorted(self._connections.items()))

    def _changed(self, name: str) -> None:
        for connection in self._connections.values():
            connection.session.retry(name)
            connection.acks.pop(name, None)
            connection.unsettled.add(name)
            connection.wake.set()

    # --- streams

    async def _stream(self, _requests: object, context: Any) -> None:
        try:
            async with asyncio.timeout(_FIRST_WORDS_S):
                first = await context.read()
        except TimeoutError:
            return
        if first is grpc.aio.EOF:
            return
        connection = self._join(first)
        reader = asyncio.create_task(self._listen(connection, context))
        try:
            while not connection.closed:
                connection.wake.clear()
                for response in connection.session.advance(self._wanted, self._monotonic()):
                    # told first: the answer may be heard before the write has returned
                    self._pushes.sent(connection.node_id, response.type_url, response.version_info)
                    await context.write(response)
                await self._sleep(connection)
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader
            self._leave(connection)

    async def _listen(self, connection: Connection, context: Any) -> None:
        try:
            while (request := await context.read()) is not grpc.aio.EOF:
                self._hear(connection, request)
        finally:
            connection.closed = True
            connection.wake.set()

    def _hear(self, connection: Connection, request: discovery_pb2.DiscoveryRequest) -> None:
        connection.session.receive(request)
        connection.wake.set()
        for name in connection.settle(self._wanted):
            confirmed = connection.confirmed.get(name)
            if confirmed is not None:
                self._good[name] = confirmed
            self._tell_trace(connection, name)
            self._on_change(name)

    def _tell_trace(self, connection: Connection, name: str) -> None:
        if name in self._wanted:
            ack, words = connection.session.ack(self._wanted[name].bundle)
        else:
            ack, words = (model.Ack.YES if connection.session.gone(name) else model.Ack.NOT_YET), ""
        self._pushes.heard(connection.node_id, name, ack, words)

    async def _sleep(self, connection: Connection) -> None:
        due = connection.session.due()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if due is None else max(0.0, due - self._monotonic())):
                await connection.wake.wait()

    def _join(self, first: discovery_pb2.DiscoveryRequest) -> Connection:
        node, fields = first.node, first.node.metadata.fields
        listener = snapshot.listener_resource(self._settings, _text(fields, "access_log"), _text(fields, "otlp"))
        connection = Connection(node.id, _text(fields, "admin"), Session(node.id, listener, self._settings))
        connection.unsettled = set(self._wanted)
        before = self._connections.get(node.id)
        if before is not None:  # the same node came back before its old stream was found dead
            before.closed = True
            before.wake.set()
        self._connections[node.id] = connection
        self._hear(connection, first)
        for name in self._wanted:
            self._on_change(name)
        return connection

    def _leave(self, connection: Connection) -> None:
        if self._connections.get(connection.node_id) is connection:
            del self._connections[connection.node_id]
            self._pushes.gone(connection.node_id)
            for name in self._wanted:
                self._on_change(name)


def _text(fields: Any, key: str) -> str | None:
    return fields[key].string_value or None if key in fields else None
