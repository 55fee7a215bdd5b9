"""The composition root: reads the settings once, puts the parts together, starts and stops them in order.

Run as `python -m controlplane.main`. Order of the start: the lock, the store, the replicas that are still running, the
routing of every model, and only then the port to which gateways connect; so a reconnecting gateway is never told of less
than it serves. Stopping undoes nothing: gateways and replicas go on.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import itertools
import logging
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from types import FrameType

import fastapi
import uvicorn
from opentelemetry import trace

from gateway import adapter as gateways
from gateway import settings as gateway_settings
from monitoring import logs, otlp
from monitoring.answers import HttpAnswers
from monitoring.drift import replicas
from monitoring.reports import making, runner
from registry import adapter as registries
from registry import reports as shelves
from rollout import ports
from runtime import local, packager

from . import settings, tracing
from .api import app as api
from .api import services
from .broadcast import Broadcast
from .clock import SteadyClock
from .drift.reports import Reporter
from .drift.versions import Policy
from .drift.watcher import Watcher
from .history import History
from .loop import Loop
from .metrics.recorder import Recorder
from .notifications import receivers
from .notifications.notifier import Notifier
from .observe import Ports
from .passes import Passes
from .store import lock, sql, sql_drift, sql_outbox, sql_past
from .traffic import TrafficMeter

SHUTDOWN_S = 5.0
FLUSH_S = 2.0  # for spans that are waiting

log = logging.getLogger(__name__)


class ControlPlane:
    """All parts, built and started by `running`."""

    def __init__(self, chosen: settings.Settings) -> None:
        self._settings = chosen
        self._token = chosen.token
        self._receivers = receivers.read(chosen.notify_file) if chosen.notify_file is not None else ()
        self.changes = Broadcast()
        self._clock = SteadyClock()
        self._meter = TrafficMeter()
        self._version = importlib.metadata.version("slipway")
        self._watching: Watcher | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[services.Services]:
        chosen = self._settings

        def nudge(model_name: str) -> None:
            loop.nudge(model_name)  # made below: the loop needs the adapters, and they tell it of changes

        async with AsyncExitStack() as stack:
            store = await sql.SqlStore.open(chosen.store_url)
            stack.push_async_callback(store.close)
            registry = registries.MlflowRegistry(chosen.mlflow_uri, timeout_s=chosen.observe_timeout_s)
            stack.push_async_callback(registry.close)
            runtime = local.LocalRuntime(
                state_dir=chosen.state_dir / "runtime",
                bentos=packager.Packager(bentoml_home=chosen.state_dir / "bentoml", fetch=registry.download),
                on_change=nudge,
                environment=chosen.replica_environment,
                host=chosen.replica_address,
            )
            recorder = Recorder(
                clock=self._clock,
                version=self._version,
                gateways=lambda: len(gateway.admins()),
                shares=self._shares,
                drift=lambda: itertools.chain(
                    watcher.rows(), reporter.rows()
                ),  # made below: they ask the recorder for replicas
            )
            tracer = await stack.enter_async_context(self._tracing(recorder))
            gateway = gateways.EnvoyGateway(
                ads_host=chosen.xds_host,
                ads_port=chosen.xds_port,
                settings=self._gateway_settings(),
                on_change=nudge,
                tracer=tracer,
            )
            answers = HttpAnswers()
            stack.push_async_callback(answers.close)
            outside = Ports(store, registry, gateway, runtime, answers)
            history = History(sql_past.SqlPast(store))
            loop = self._loop(outside, history, recorder, tracer)
            await runtime.start()
            stack.push_async_callback(runtime.close)
            models = await loop.restore()
            for record in await store.records():
                recorder.remember(await store.rollouts(record.model, limit=1))
            await gateway.start()
            stack.push_async_callback(gateway.stop)
            await loop.startup()
            stack.push_async_callback(loop.shutdown, SHUTDOWN_S)
            notifier = self._notifier(store, recorder)
            await notifier.start()
            stack.push_async_callback(notifier.stop)
            reader = replicas.HttpReplicas()
            stack.push_async_callback(reader.close)
            ledger = sql_drift.SqlLedger(store)
            shelf = shelves.MlflowReports(chosen.mlflow_uri)
            stack.push_async_callback(shelf.close)
            reporter = self._reporter(shelf, recorder)
            await reporter.start()
            stack.push_async_callback(reporter.stop)
            watcher = self._watching = self._watcher(ledger, store, reader, recorder, reporter)
            await watcher.start()
            stack.push_async_callback(watcher.stop)
            log.info("control plane is up", extra={"models": models, "api": f"{chosen.api_host}:{chosen.api_port}"})
            made = self._services(outside, loop, recorder, gateway, notifier)
            yield replace(made, history=history, drift=watcher.looks, ledger=ledger, reports=reporter)

    def _shares(self, model_name: str) -> dict[int, float]:
        return {each.version: each.share_pct for each in self._meter.traffic(model_name).versions}

    def _alarm(self, model_name: str, version: int) -> str:
        """The loop looks before drift is watched."""
        return self._watching.alarm(model_name, version) if self._watching is not None else ""

    def _gateway_settings(self) -> gateway_settings.Settings:
        chosen = self._settings
        return gateway_settings.Settings(
            host=chosen.ingress_host,
            port=chosen.ingress_port,
            request_timeout_s=chosen.request_timeout_s,
            access_log_share_pct=chosen.access_log_share_pct,
            trace_sampling_pct=chosen.trace_sampling_pct,
            trace_headers=tuple(chosen.otlp_pairs.items()),
            trace_callers=chosen.trace_callers,
        )

    @asynccontextmanager
    async def _tracing(self, recorder: Recorder) -> AsyncIterator[trace.Tracer]:
        """Of the loop's passes. What is waiting at the end is sent, for a few seconds at most."""
        endpoint = self._settings.otlp_endpoint
        if not endpoint:
            yield trace.NoOpTracer()
            return
        provider = otlp.provider(tracing.SERVICE, otlp.Target(endpoint, self._settings.otlp_pairs), recorder.spans_lost)
        try:
            yield provider.get_tracer("slipway.loop")
        finally:
            await asyncio.to_thread(otlp.close, provider, FLUSH_S)

    def _loop(self, outside: Ports, history: History, recorder: Recorder, tracer: trace.Tracer) -> Loop:
        passes = Passes(
            outside,
            clock=self._clock,
            changes=self.changes,
            meter=self._meter,
            history=history,
            tick_s=self._settings.tick_s,
            observe_timeout_s=self._settings.observe_timeout_s,
            drain_s=self._settings.drain_s,
            drift=self._alarm,
            recorder=recorder,
            tracer=tracer,
        )
        return Loop(outside, passes)

    def _notifier(self, store: sql.SqlStore, recorder: Recorder) -> Notifier:
        return Notifier(
            self._receivers,
            outbox=sql_outbox.SqlOutbox(store),
            store=store,
            changes=self.changes,
            clock=self._clock,
            recorder=recorder,
        )

    def _watcher(
        self,
        ledger: sql_drift.SqlLedger,
        store: sql.SqlStore,
        reader: replicas.HttpReplicas,
        recorder: Recorder,
        reporter: Reporter,
    ) -> Watcher:
        longest = timedelta(seconds=self._settings.drift_window_s)
        return Watcher(
            ledger=ledger,
            store=store,
            reader=reader,
            in_service=recorder.replicas,
            clock=self._clock,
            changes=self.changes,
            every_s=self._settings.drift_every_s,
            policy=Policy(rows=self._settings.drift_window_rows, longest=longest),
            failed=recorder.drift_failed,
            took=recorder.drift_took,
            alarmed=reporter.alarmed,
        )

    def _reporter(self, shelf: making.Shelf, recorder: Recorder) -> Reporter:
        chosen = self._settings
        limits = runner.Limits(chosen.drift_report_memory_mb, chosen.drift_report_timeout_s)
        return Reporter(
            shelf=shelf,
            root=str(chosen.prediction_log or ""),
            in_service=recorder.replicas,
            clock=self._clock,
            every_s=chosen.drift_report_every_s,
            window=timedelta(seconds=max(chosen.drift_report_every_s, chosen.drift_window_s)),
            bounds=making.Bounds(limits, kept=chosen.drift_reports_kept),
            reported=recorder.drift_reported,
        )

    def _services(
        self, outside: Ports, loop: Loop, recorder: Recorder, gateway: gateways.EnvoyGateway, notifier: Notifier
    ) -> services.Services:
        return services.Services(
            store=outside.store,
            registry=outside.registry,
            gateway=outside.gateway,
            runtime=outside.runtime,
            wake=loop.wake,
            failures=lambda: loop.failures,
            clock=self._clock,
            new_id=lambda: f"r-{secrets.token_hex(5)}",
            traffic=self._meter.traffic,
            latency=self._meter.latency,
            changes=self.changes,
            version=self._version,
            recorder=recorder,
            gateways=gateway.admins,
            notifier=notifier,
            alert_token=self._token,
            alert_dry_run=self._settings.alert_dry_run,
            max_body_bytes=self._settings.max_body_bytes,
        )


class Server(uvicorn.Server):
    """Ends the event streams as soon as it is told to stop, instead of waiting for readers to go."""

    changes: Broadcast

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.changes.close()
        super().handle_exit(sig, frame)


async def serve(chosen: settings.Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises ports.PortError with what to do when it cannot start."""
    listener = _listen(chosen.api_host, chosen.api_port)
    plane = ControlPlane(chosen)
    with lock.only_one(chosen.state_dir / "slipway.lock"):
        async with plane.running() as parts:
            application: fastapi.FastAPI = api.create_app(parts)
            config = uvicorn.Config(application, log_config=None, timeout_graceful_shutdown=int(SHUTDOWN_S))
            server = Server(config)
            server.changes = plane.changes
            _spare_the_collector()
            await server.serve(sockets=[listener])


def _spare_the_collector() -> None:
    """What was loaded until now lives as long as the process. Looking through it again and again for garbage would stop
    everything for 90 ms every few seconds; an abort must not wait for that."""
    gc.collect()
    gc.freeze()


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ports.Refused("api", f"cannot listen on {host}:{port} ({error.strerror}); set SLIPWAY_API_PORT") from error
    return listener


def main() -> int:
    """Exit codes: 0 stopped as asked, 2 wrong settings or something is in the way (said on standard error)."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal is no reason to stop
    try:
        chosen = settings.read()
        logs.configure(chosen.log_level, tracing.SERVICE)
        asyncio.run(serve(chosen))
    except (settings.InvalidSettings, receivers.InvalidReceivers, ports.PortError) as error:
        sys.stderr.write(f"slipway control plane: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
