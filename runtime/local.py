"""The runtime for local processes: `rollout.ports.Runtime` on one machine, without a container.

Made by the composition root. Calls record the wish and return; a supervisor per deployment does the work. Replicas outlive this object
and the control plane: `start` finds them again. Must never signal a process that it did not start.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from rollout import model, ports

from . import keeper, packager, probe, process, record, supervisor

LOG = logging.getLogger(__name__)
ADOPTED_S = 5.0  # how long `start` waits for the replicas it found
STARTING_AT_ONCE = max(2, os.cpu_count() or 1)


class LocalRuntime:
    """`on_change(model)` is called in the event loop whenever something that `deployments` tells has changed. `host`: this machine's
    own IPv4 address on which replicas listen; another one than loopback where gateways run elsewhere."""

    def __init__(
        self,
        *,
        state_dir: Path,
        bentos: packager.Packager,
        on_change: Callable[[str], None],
        limits: keeper.Limits | None = None,
        environment: Mapping[str, str] | None = None,
        host: str = process.LOOPBACK,
    ) -> None:
        self._state_dir = state_dir.resolve()
        self._probe = probe.Probe()
        self._tools = keeper.Tools(
            packager=bentos,
            probe=self._probe,
            starting=asyncio.Semaphore(STARTING_AT_ONCE),
            limits=limits or keeper.Limits(),
            environment=dict(environment or {}),
            changed=on_change,
            host=host,
        )
        self._supervisors: dict[tuple[str, int], supervisor.Supervisor] = {}
        self._stopping: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._again: dict[tuple[str, int], int] = {}  # wanted again while still stopping
        self._lock: int | None = None

    # the life of the runtime

    async def start(self) -> None:
        """Adopt what an earlier control plane started. Raises Refused if another one uses the folder, or it cannot be written."""
        try:
            self._state_dir.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._state_dir / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._unlock()
            raise ports.Refused("runtime", f"another control plane uses {self._state_dir}") from None
        except OSError as error:
            self._unlock()
            raise ports.Refused("runtime", f"the state folder cannot be used: {error}") from error
        for file in sorted(self._state_dir.glob("*/v*/state.json")):
            try:
                known = record.read(file)
                self._begin(known)
                if known.stopping:
                    self._stop((known.model, known.version), 0.0)
            except ValueError:
                LOG.exception("%s cannot be read; it is set aside", file)
                with contextlib.suppress(OSError):
                    file.replace(file.with_suffix(".corrupt"))
            except OSError:
                LOG.exception("%s cannot be used", file)
        # whoever asks next must not take replicas for gone that are only not yet asked
        with contextlib.suppress(TimeoutError):
            adopted = [one.settle() for key, one in self._supervisors.items() if key not in self._stopping]
            await asyncio.wait_for(asyncio.gather(*adopted), ADOPTED_S)

    async def close(self) -> None:
        """End the supervision; the replicas serve on."""
        for task in self._stopping.values():
            task.cancel()
        await asyncio.gather(*self._stopping.values(), return_exceptions=True)
        await asyncio.gather(*(one.close() for one in self._supervisors.values()))
        await self._probe.close()
        self._unlock()

    async def stop_all(self, drain_s: float) -> None:
        """End every replica, and the supervision. Returns when all are gone."""
        self._again.clear()
        for key in list(self._supervisors):
            self._stop(key, drain_s)
        await asyncio.gather(*self._stopping.values(), return_exceptions=True)
        await self.close()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # rollout.ports.Runtime

    async def ensure(self, model_name: str, version: int, replicas: int) -> None:
        if replicas < 1:
            raise ports.Refused("runtime", f"replicas must be at least 1, not {replicas}; to have none, stop the version")
        if not packager.NAME.fullmatch(model_name) or version < 1:
            words = "use lower case letters, digits, '-', '_' and '.', and a version from 1"
            raise ports.Refused("runtime", f"{model_name!r} version {version} cannot be run: {words}")
        key = (model_name, version)
        if key in self._stopping:
            self._again[key] = replicas
            return
        try:
            if (known := self._supervisors.get(key)) is not None:
                known.want(replicas)
            else:
                self._begin(record.Record(model_name, version, replicas))
        except OSError as error:
            raise ports.Refused("runtime", f"the state of {model_name}:v{version} cannot be written: {error}") from error

    async def stop(self, model_name: str, version: int, drain_s: float) -> None:
        self._again.pop((model_name, version), None)
        self._stop((model_name, version), drain_s)

    async def deployments(self, model_name: str) -> tuple[model.Deployment, ...]:
        return tuple(one.deployment for (name, _), one in sorted(self._supervisors.items()) if name == model_name)

    def _begin(self, wish: record.Record) -> None:
        file = record.path(self._state_dir, wish.model, wish.version)
        made = supervisor.Supervisor(file.parent, wish, self._tools)
        made.begin()
        self._supervisors[wish.model, wish.version] = made

    def _stop(self, key: tuple[str, int], drain_s: float) -> None:
        if key in self._supervisors and key not in self._stopping:
            self._supervisors[key].leave()
            self._stopping[key] = asyncio.create_task(self._stopped(key, drain_s))

    async def _stopped(self, key: tuple[str, int], drain_s: float) -> None:
        try:
            await self._supervisors[key].end(drain_s)
        except Exception:
            LOG.exception("stopping %s:v%s broke", *key)
        del self._supervisors[key], self._stopping[key]
        self._tools.changed(key[0])
        if (replicas := self._again.pop(key, None)) is not None:
            try:
                await self.ensure(*key, replicas)
            except ports.Refused:
                LOG.exception("%s:v%s was wanted again", *key)
