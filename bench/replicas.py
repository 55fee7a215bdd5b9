"""The port `Runtime` of the benchmarks: a version is ready the moment it is wanted, on an address that serves already.

So the numbers are those of the control plane and the gateway, not of starting model servers. Used by `plane`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rollout import model


class Replicas:
    def __init__(self, addresses: Mapping[int, str], on_change: Callable[[str], None]) -> None:
        """`addresses`: where each version is served, of whatever model."""
        self._addresses = addresses
        self._on_change = on_change
        self._wanted: dict[str, dict[int, int]] = {}

    async def ensure(self, model_name: str, version: int, replicas: int) -> None:
        self._wanted.setdefault(model_name, {})[version] = replicas
        self._on_change(model_name)

    async def stop(self, model_name: str, version: int, drain_s: float) -> None:
        del drain_s
        if self._wanted.get(model_name, {}).pop(version, None) is not None:
            self._on_change(model_name)

    async def deployments(self, model_name: str) -> tuple[model.Deployment, ...]:
        ready = model.DeploymentState.READY
        return tuple(
            model.Deployment(model_name, version, ready, replicas, (self._addresses[version],))
            for version, replicas in sorted(self._wanted.get(model_name, {}).items())
        )
