"""The runtime in memory: the twin of `local.py` for tests and for trying things out. Passes the same contract suite.

Nothing runs. A deployment becomes ready when it is asked to, or at once with `instant`; knobs make it fail, degrade or stay stopping.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rollout import model, ports

State = model.DeploymentState


class MemoryRuntime:
    """`instant`: ensure means ready and stop means gone. Otherwise call `ready`, `fail`, `degrade` and `gone`."""

    def __init__(self, *, on_change: Callable[[str], None] = lambda _: None, instant: bool = True) -> None:
        self.instant = instant
        self.away = False  # every call raises Unavailable
        self._changed = on_change
        self._known: dict[tuple[str, int], model.Deployment] = {}
        self._again: dict[tuple[str, int], int] = {}  # wanted again while still stopping
        self._port = 20000

    # rollout.ports.Runtime

    async def ensure(self, model_name: str, version: int, replicas: int) -> None:
        self._reachable()
        if replicas < 1:
            raise ports.Refused("runtime", f"replicas must be at least 1, not {replicas}; to have none, stop the version")
        known = self._known.get((model_name, version))
        if known is not None and known.state is State.STOPPING:
            self._again[model_name, version] = replicas
            return
        if known is not None and (known.state is State.FAILED or known.wanted == replicas):
            return
        if known is None:
            known = model.Deployment(model_name, version, State.PREPARING, replicas)
        self._put(replace(known, wanted=replicas))
        if self.instant or known.state is State.READY:
            self.ready(model_name, version)

    async def stop(self, model_name: str, version: int, drain_s: float) -> None:
        self._reachable()
        del drain_s  # nothing runs, so nothing drains
        self._again.pop((model_name, version), None)
        if (known := self._known.get((model_name, version))) is not None:
            self._put(replace(known, state=State.STOPPING, endpoints=()))
            if self.instant:
                self.gone(model_name, version)

    async def deployments(self, model_name: str) -> tuple[model.Deployment, ...]:
        self._reachable()
        return tuple(known for (name, _), known in sorted(self._known.items()) if name == model_name)

    # knobs

    def starting(self, model_name: str, version: int) -> None:
        """The bento is built, replicas are coming up."""
        self._put(replace(self._known[model_name, version], state=State.STARTING, endpoints=()))

    def ready(self, model_name: str, version: int) -> None:
        known = self._known[model_name, version]
        endpoints = known.endpoints[: known.wanted]
        while len(endpoints) < known.wanted:
            self._port += 1
            endpoints = (*endpoints, f"127.0.0.1:{self._port}")
        self._put(replace(known, state=State.READY, endpoints=endpoints, reason=""))

    def degrade(self, model_name: str, version: int, reason: str = "replica 0 is being restarted: the server ended") -> None:
        """The first replica is down."""
        known = self._known[model_name, version]
        self._put(replace(known, state=State.DEGRADED, endpoints=known.endpoints[1:], reason=reason))

    def fail(self, model_name: str, version: int, reason: str) -> None:
        self._put(replace(self._known[model_name, version], state=State.FAILED, endpoints=(), reason=reason))

    def gone(self, model_name: str, version: int) -> None:
        """Drained and forgotten."""
        del self._known[model_name, version]
        self._changed(model_name)
        if (replicas := self._again.pop((model_name, version), None)) is not None:
            self._put(model.Deployment(model_name, version, State.PREPARING, replicas))

    def _put(self, deployment: model.Deployment) -> None:
        key = (deployment.model, deployment.version)
        if self._known.get(key) != deployment:
            self._known[key] = deployment
            self._changed(deployment.model)

    def _reachable(self) -> None:
        if self.away:
            raise ports.Unavailable("runtime", "the runtime does not answer")
